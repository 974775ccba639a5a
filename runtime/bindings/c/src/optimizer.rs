//! Stepping, rates, state.

use std::ffi::c_char;

use himuon::optimizer::StepReport;
use himuon::{HiMuon, ParameterStep};

use crate::status::{Failure, Status, guarded};
use crate::tensor::{Tensor, check_apart};
use crate::text::{borrowed, owned};

/// An optimizer over the caller's parameters.
#[derive(Debug)]
pub struct Optimizer(pub(crate) HiMuon);

/// What a step did.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The step's number, from 0.
    pub step: u64,
    /// Kernels that were launched.
    pub launches: u64,
    /// Tiles of all launches.
    pub tiles: u64,
    /// Tiles left unchanged because gradient or momentum held a NaN or an infinity.
    pub non_finite_tiles: u64,
    /// Tiles that a criterion left unorthogonalised.
    pub unorthogonalised_tiles: u64,
    /// Matrices whose coarse part was left out because it was not finite.
    pub uncoupled_matrices: u64,
    /// Parameters of AdamW left unchanged because their gradient held a NaN or an infinity.
    pub non_finite_parameters: u64,
    /// Parameters without a gradient.
    pub missing_gradients: u64,
}

impl From<&StepReport> for Report {
    fn from(report: &StepReport) -> Self {
        Report {
            step: report.step,
            launches: report.launches as u64,
            tiles: report.tiles as u64,
            non_finite_tiles: report.non_finite_tiles as u64,
            unorthogonalised_tiles: report.unorthogonalised_tiles as u64,
            uncoupled_matrices: report.uncoupled_matrices as u64,
            non_finite_parameters: report.non_finite_parameters as u64,
            missing_gradients: report.missing_gradients.len() as u64,
        }
    }
}

/// # Safety
/// `optimizer` is null or comes from `himuon_build` and is this thread's.
pub(crate) unsafe fn optimizer_at<'a>(
    optimizer: *mut Optimizer,
) -> Result<&'a mut HiMuon, Failure> {
    // SAFETY: the caller's word.
    let optimizer = unsafe { optimizer.as_mut() };
    optimizer
        .map(|optimizer| &mut optimizer.0)
        .ok_or_else(|| Failure::argument("the optimizer is null, expected one of himuon_build"))
}

/// Frees an optimizer. Null is ignored.
///
/// # Safety
/// `optimizer` comes from `himuon_build` and was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn himuon_free(optimizer: *mut Optimizer) {
    if !optimizer.is_null() {
        // SAFETY: the caller's word.
        drop(unsafe { Box::from_raw(optimizer) });
    }
}

/// # Safety
/// `tensors` is null or points to `count` tensors, which nobody changes for as long as the result is used.
unsafe fn tensors_at<'a>(
    tensors: *const Tensor,
    count: usize,
    what: &str,
) -> Result<&'a [Tensor], Failure> {
    match (tensors.is_null(), count) {
        (_, 0) => Ok(&[]),
        (true, _) => Err(Failure::argument(format!(
            "{what} are null, expected {count} tensors"
        ))),
        // SAFETY: not null, and as long by the caller's word.
        (false, _) => Ok(unsafe { std::slice::from_raw_parts(tensors, count) }),
    }
}

/// Takes one step over all `count` parameters in the declared order: weights are updated in place, gradients are read. A
/// gradient whose data is null leaves its parameter unchanged. `report` may be null.
///
/// # Safety
/// `optimizer` is an optimizer; `weights` and `gradients` point to `count` tensors each, whose numbers are there; nobody
/// else uses the weights meanwhile or writes to the gradients; `report` is null or a place for a report.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn himuon_step(
    optimizer: *mut Optimizer,
    weights: *const Tensor,
    gradients: *const Tensor,
    count: usize,
    report: *mut Report,
) -> Status {
    guarded(|| {
        // SAFETY: the caller's word.
        let (optimizer, weights, gradients) = unsafe {
            (
                optimizer_at(optimizer)?,
                tensors_at(weights, count, "the weights")?,
                tensors_at(gradients, count, "the gradients")?,
            )
        };
        check_apart(weights, gradients)?;
        let pairs = weights.iter().zip(gradients);
        let mut parameters: Vec<_> = pairs
            .map(|(weight, gradient)| ParameterStep {
                // SAFETY: checked above: aligned, not null, apart from all others. The numbers are there by the caller's
                // word.
                weight: unsafe { weight.write() },
                // SAFETY: as above; nobody writes to it.
                gradient: (!gradient.data.is_null()).then(|| unsafe { gradient.read() }),
            })
            .collect();
        let done = optimizer.step(&mut parameters)?;
        // SAFETY: null or a place, by the caller's word.
        if let Some(place) = unsafe { report.as_mut() } {
            *place = Report::from(&done);
        }
        Ok(())
    })
}

/// Steps taken so far; 0 for null.
///
/// # Safety
/// `optimizer` is null or an optimizer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn himuon_steps_taken(optimizer: *const Optimizer) -> u64 {
    // SAFETY: the caller's word.
    unsafe { optimizer.as_ref() }.map_or(0, |optimizer| optimizer.0.steps_taken())
}

/// The learning rate that groups follow; NaN for null.
///
/// # Safety
/// `optimizer` is null or an optimizer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn himuon_learning_rate(optimizer: *const Optimizer) -> f64 {
    // SAFETY: the caller's word.
    unsafe { optimizer.as_ref() }.map_or(f64::NAN, |optimizer| optimizer.0.learning_rate())
}

/// Sets the learning rate that groups follow, from the next step on.
///
/// # Safety
/// `optimizer` is an optimizer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn himuon_set_learning_rate(optimizer: *mut Optimizer, rate: f64) -> Status {
    guarded(|| {
        // SAFETY: the caller's word.
        unsafe { optimizer_at(optimizer)? }.set_learning_rate(rate);
        Ok(())
    })
}

/// A line for each parameter: shape, group, tiles, bytes, and why. Put into `text`, to be freed by
/// `himuon_text_free`.
///
/// # Safety
/// `optimizer` is an optimizer, `text` a place for a text.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn himuon_explain(
    optimizer: *mut Optimizer,
    text: *mut *mut c_char,
) -> Status {
    guarded(|| {
        // SAFETY: the caller's word.
        let (optimizer, place) = unsafe { (optimizer_at(optimizer)?, text.as_mut()) };
        let place = place
            .ok_or_else(|| Failure::argument("the place of the text is null, expected a char**"))?;
        *place = owned(optimizer.explain()?.to_string());
        Ok(())
    })
}

/// Writes the state (momenta, moments, step, learning rate) to a safetensors file, whole or not at all. Weights are the
/// caller's.
///
/// # Safety
/// `optimizer` is an optimizer, `path` ends with a zero.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn himuon_save_state(
    optimizer: *mut Optimizer,
    path: *const c_char,
) -> Status {
    guarded(|| {
        // SAFETY: the caller's word.
        let (optimizer, path) = unsafe { (optimizer_at(optimizer)?, borrowed(path, "the path")?) };
        Ok(optimizer.save_state(path)?)
    })
}

/// Takes over a saved state. A file that is damaged or belongs to other parameters is refused, and nothing changes.
/// `differences`, unless it is null, gets a text of options that are not what they were, a line each, empty where there
/// are none; it is freed by `himuon_text_free`.
///
/// # Safety
/// `optimizer` is an optimizer, `path` ends with a zero, `differences` is null or a place for a text.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn himuon_load_state(
    optimizer: *mut Optimizer,
    path: *const c_char,
    differences: *mut *mut c_char,
) -> Status {
    guarded(|| {
        // SAFETY: the caller's word.
        let (optimizer, path) = unsafe { (optimizer_at(optimizer)?, borrowed(path, "the path")?) };
        let report = optimizer.load_state(path)?;
        // SAFETY: null or a place, by the caller's word.
        if let Some(place) = unsafe { differences.as_mut() } {
            *place = owned(report.differences.join("\n"));
        }
        Ok(())
    })
}
