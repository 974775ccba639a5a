//! What may change between steps, group by group: a group is known by the pattern that it was declared with.

use std::ffi::c_char;

use himuon::HiMuon;
use himuon::optimizer::{BuildError, LearningRate};

use crate::optimizer::{Optimizer, optimizer_at};
use crate::status::{Status, guarded};
use crate::text::borrowed;

/// # Safety
/// `optimizer` is an optimizer, `group` ends with a zero.
unsafe fn changed(
    optimizer: *mut Optimizer,
    group: *const c_char,
    change: impl FnOnce(&mut HiMuon, &str) -> Result<(), BuildError>,
) -> Status {
    guarded(|| {
        // SAFETY: the caller's word.
        let (optimizer, group) =
            unsafe { (optimizer_at(optimizer)?, borrowed(group, "the group")?) };
        change(optimizer, group).map_err(himuon::Error::from)?;
        Ok(())
    })
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
    let rate = LearningRate::Own(rate);
    // SAFETY: the caller's word.
    unsafe {
        changed(optimizer, group, |o, group| {
            o.set_group_learning_rate(group, rate)
        })
    }
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
    let rate = LearningRate::Factor(factor);
    // SAFETY: the caller's word.
    unsafe {
        changed(optimizer, group, |o, group| {
            o.set_group_learning_rate(group, rate)
        })
    }
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
    // SAFETY: the caller's word.
    unsafe {
        changed(optimizer, group, |o, group| {
            o.set_weight_decay(group, decay)
        })
    }
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
    // SAFETY: the caller's word.
    unsafe { changed(optimizer, group, |o, group| o.set_momentum(group, momentum)) }
}
