//! What may change between steps, group by group: a group is known by the pattern that it was declared with.

use std::ffi::c_char;

use himuon::HiMuon;
use himuon::memory::Memory;
use himuon::optimizer::{BuildError, LearningRate, check_learning_rate};

use crate::optimizer::Optimizer;
use crate::place::{in_place, optimizer_at};
use crate::status::{Failure, Status, guarded};
use crate::text::borrowed;

/// Refuses a learning rate of the optimizer that no step would take.
pub(crate) fn check_rate(rate: f64) -> Result<(), Failure> {
    check_learning_rate(rate).map_err(|error| Failure::argument(error.to_string()))
}

/// What may change of a group.
#[derive(Clone, Copy)]
enum Change {
    LearningRate(LearningRate),
    WeightDecay(f64),
    Momentum(f64),
    Betas(f64, f64),
}

impl Change {
    fn apply<M: Memory>(self, optimizer: &mut HiMuon<M>, group: &str) -> Result<(), BuildError> {
        match self {
            Change::LearningRate(rate) => optimizer.set_group_learning_rate(group, rate),
            Change::WeightDecay(decay) => optimizer.set_weight_decay(group, decay),
            Change::Momentum(momentum) => optimizer.set_momentum(group, momentum),
            Change::Betas(first, second) => optimizer.set_betas(group, first, second),
        }
    }

    /// # Safety
    /// `optimizer` is an optimizer, `group` ends with a zero.
    unsafe fn of(self, optimizer: *mut Optimizer, group: *const c_char) -> Status {
        guarded(|| {
            // SAFETY: the caller's word.
            let (optimizer, group) =
                unsafe { (optimizer_at(optimizer)?, borrowed(group, "the group")?) };
            in_place!(&mut *optimizer.place, optimizer => self.apply(optimizer, group))
                .map_err(himuon::Error::from)?;
            Ok(())
        })
    }
}

/// Sets a learning rate of a group's own, from the next step on. `(rest)` is the group of what no other takes.
///
/// # Safety
/// `optimizer` is an optimizer, `group` ends with a zero.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn himuon_set_group_learning_rate(
    optimizer: *mut Optimizer,
    group: *const c_char,
    rate: f64,
) -> Status {
    let change = Change::LearningRate(LearningRate::Own(rate));
    // SAFETY: the caller's word.
    unsafe { change.of(optimizer, group) }
}

/// Sets the factor by which a group follows the optimizer's learning rate, from the next step on.
///
/// # Safety
/// `optimizer` is an optimizer, `group` ends with a zero.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn himuon_set_group_learning_rate_factor(
    optimizer: *mut Optimizer,
    group: *const c_char,
    factor: f64,
) -> Status {
    let change = Change::LearningRate(LearningRate::Factor(factor));
    // SAFETY: the caller's word.
    unsafe { change.of(optimizer, group) }
}

/// Sets the decoupled weight decay of a group, from the next step on.
///
/// # Safety
/// `optimizer` is an optimizer, `group` ends with a zero.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn himuon_set_weight_decay(
    optimizer: *mut Optimizer,
    group: *const c_char,
    decay: f64,
) -> Status {
    let change = Change::WeightDecay(decay);
    // SAFETY: the caller's word.
    unsafe { change.of(optimizer, group) }
}

/// Sets the momentum of a group of tiles, from the next step on.
///
/// # Safety
/// `optimizer` is an optimizer, `group` ends with a zero.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn himuon_set_momentum(
    optimizer: *mut Optimizer,
    group: *const c_char,
    momentum: f64,
) -> Status {
    let change = Change::Momentum(momentum);
    // SAFETY: the caller's word.
    unsafe { change.of(optimizer, group) }
}

/// Sets the decay of both moments of a group of AdamW, from the next step on.
///
/// # Safety
/// `optimizer` is an optimizer, `group` ends with a zero.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn himuon_set_betas(
    optimizer: *mut Optimizer,
    group: *const c_char,
    beta1: f64,
    beta2: f64,
) -> Status {
    let change = Change::Betas(beta1, beta2);
    // SAFETY: the caller's word.
    unsafe { change.of(optimizer, group) }
}
