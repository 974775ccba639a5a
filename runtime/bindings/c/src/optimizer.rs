//! Stepping.

use std::ffi::c_char;

use himuon::error::StepError;
use himuon::launch::TileCounts;
use himuon::optimizer::StepReport;
use himuon::{HiMuon, ParameterStep};

use crate::place::{Addressed, Place, in_place, optimizer_at};
use crate::rates::check_rate;
use crate::sized::{Grows, PlaceOf};
use crate::status::{Failure, Status, guarded};
use crate::tensor::{Tensor, check_apart};
use crate::text::{cleared, owned};

/// An optimizer over the caller's parameters, on the CPU or on a CUDA device. One thread at a time may be in a call with it,
/// those that only ask among them; which thread that is may change from call to call, and different optimizers are independent.
/// In a process that was forked after it was built its threads and its device are not there: calls that give a status are
/// refused, and `himuon_free` does nothing; build another one there, on a device in a process that was started and not forked.
#[derive(Debug)]
pub struct Optimizer {
    pub(crate) place: Place,
    /// The process whose threads it has.
    process: u32,
}

impl Optimizer {
    pub(crate) fn new(place: Place) -> Self {
        Optimizer {
            place,
            process: std::process::id(),
        }
    }

    /// Whether this is a process that was forked after it was made.
    pub(crate) fn is_forked(&self) -> bool {
        self.process != std::process::id()
    }
}

/// What a step did. Begin with its size: `himuon_report report = {.size = sizeof report};`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// `sizeof(himuon_report)`.
    pub size: usize,
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
    /// Where the step was skipped: the first parameter that was not finite, from 0.
    pub skipped_for: u64,
    /// Whether the whole step was skipped, by `HIMUON_NON_FINITE_SKIP_STEP`.
    pub skipped: bool,
    /// Whether the counts of tiles that are not finite or not orthogonalised are still on the device, and 0 here:
    /// `himuon_tile_counts` waits for them. Never on the CPU.
    pub counts_pending: bool,
}

impl From<&StepReport> for Report {
    fn from(report: &StepReport) -> Self {
        Report {
            size: size_of::<Report>(),
            step: report.step,
            launches: report.launches as u64,
            tiles: report.tiles as u64,
            non_finite_tiles: report.non_finite_tiles as u64,
            unorthogonalised_tiles: report.unorthogonalised_tiles as u64,
            uncoupled_matrices: report.uncoupled_matrices as u64,
            non_finite_parameters: report.non_finite_parameters as u64,
            missing_gradients: report.missing_gradients.len() as u64,
            skipped_for: report.skipped_for.unwrap_or(0) as u64,
            skipped: report.skipped_for.is_some(),
            counts_pending: report.counts_pending,
        }
    }
}

// SAFETY: `repr(C)`, and every member stands for itself.
unsafe impl Grows for Report {
    const WHAT: &str = "the report";
    const MADE: &str = "himuon_report report = {.size = sizeof report}";
    const FIRST: usize = size_of::<Self>();
}

impl Default for Report {
    fn default() -> Self {
        Report::from(&StepReport::default())
    }
}

/// What became of the tiles of all steps so far, and of the numbers of AdamW. A device counts in 32 bits. Begin with its
/// size: `himuon_counts counts = {.size = sizeof counts};`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// `sizeof(himuon_counts)`.
    pub size: usize,
    /// Tiles left unchanged because gradient or momentum held a NaN or an infinity.
    pub non_finite_tiles: u64,
    /// Tiles that a criterion left unorthogonalised.
    pub unorthogonalised_tiles: u64,
    /// Numbers that AdamW left unchanged because their moments would not have been finite. A gradient that is not finite
    /// leaves the whole parameter alone on the CPU, which the report of the step counts.
    pub non_finite_numbers: u64,
    /// Matrices whose coarse part was left out because they were not finite.
    pub uncoupled_matrices: u64,
}

impl From<TileCounts> for Counts {
    fn from(counts: TileCounts) -> Self {
        Counts {
            size: size_of::<Counts>(),
            non_finite_tiles: counts.non_finite_tiles,
            unorthogonalised_tiles: counts.unorthogonalised_tiles,
            non_finite_numbers: counts.non_finite_numbers,
            uncoupled_matrices: counts.uncoupled_matrices,
        }
    }
}

// SAFETY: `repr(C)`, and every member stands for itself.
unsafe impl Grows for Counts {
    const WHAT: &str = "the counts";
    const MADE: &str = "himuon_counts counts = {.size = sizeof counts}";
    const FIRST: usize = size_of::<Self>();
}

impl Default for Counts {
    fn default() -> Self {
        Counts::from(TileCounts::default())
    }
}

/// Frees an optimizer. Null is ignored. On a device this waits for what was submitted.
///
/// # Safety
/// `optimizer` comes from `himuon_build` or `himuon_build_cuda` and was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn himuon_free(optimizer: *mut Optimizer) {
    // SAFETY: the caller's word.
    let forked = unsafe { optimizer.as_ref() }.is_none_or(Optimizer::is_forked);
    // Waiting for the parent's threads would be for ever.
    if !forked {
        // SAFETY: the caller's word; not null.
        let optimizer = unsafe { Box::from_raw(optimizer) };
        // Where the driver does not tell what is current there is nothing to come back to.
        let _current = optimizer.place.current();
        drop(optimizer);
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
/// Of an optimizer of `himuon_build` tensors are in this process's memory, and the step is done when this returns. Of one of
/// `himuon_build_cuda` they are on its device, and the step is submitted to its stream: weights and gradients stay where they
/// are, and the gradients what they are, until the stream has passed it.
///
/// # Safety
/// `optimizer` is an optimizer; `weights` and `gradients` point to `count` tensors each, whose numbers are there, in the
/// optimizer's memory; nobody else uses the weights meanwhile or writes to the gradients; `report` is null or a report that
/// begins with its size.
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
        let (optimizer, report) = unsafe { (optimizer_at(optimizer)?, PlaceOf::at(report)?) };
        let expected =
            in_place!(&*optimizer.place, optimizer => optimizer.parameter_names().count());
        if count != expected {
            // Before anything is read: the tensors are likelier to be as many as are declared.
            let found = count;
            return Err(himuon::Error::from(StepError::Count { found, expected }).into());
        }
        // SAFETY: the caller's word.
        let (weights, gradients) = unsafe {
            (
                tensors_at(weights, count, "the weights")?,
                tensors_at(gradients, count, "the gradients")?,
            )
        };
        check_apart(weights, gradients)?;
        optimizer.place.check_addresses(weights, gradients)?;
        let done = in_place!(&mut *optimizer.place, optimizer => {
            // SAFETY: checked above: aligned, not null, weights apart from all others. The numbers are there by the caller's
            // word.
            unsafe { step(optimizer, weights, gradients) }
        })?;
        if let Some(place) = report {
            place.fill(&Report::from(&done));
        }
        Ok(())
    })
}

/// # Safety
/// The tensors passed [`check_apart`]; their numbers are in the optimizer's memory, and nobody else's.
unsafe fn step<M: Addressed>(
    optimizer: &mut HiMuon<M>,
    weights: &[Tensor],
    gradients: &[Tensor],
) -> Result<StepReport, Failure> {
    let pairs = weights.iter().zip(gradients);
    let mut parameters: Vec<_> = pairs
        .map(|(weight, gradient)| ParameterStep::<M> {
            // SAFETY: the caller's word.
            weight: unsafe { M::numbers_mut(weight) },
            // SAFETY: the caller's word.
            gradient: (!gradient.data.is_null()).then(|| unsafe { M::numbers(gradient) }),
        })
        .collect();
    Ok(optimizer.step(&mut parameters)?)
}

/// What became of the tiles of all steps so far. On a device this waits for what was submitted.
///
/// # Safety
/// `optimizer` is an optimizer, `counts` are counts that begin with their size.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn himuon_tile_counts(
    optimizer: *mut Optimizer,
    counts: *mut Counts,
) -> Status {
    guarded(|| {
        // SAFETY: the caller's word.
        let (optimizer, place) = unsafe { (optimizer_at(optimizer)?, PlaceOf::at(counts)?) };
        let place = place.ok_or_else(|| {
            Failure::argument("the place of the counts is null, expected a himuon_counts*")
        })?;
        let counts = in_place!(&mut *optimizer.place, optimizer => optimizer.tile_counts())?;
        place.fill(&counts.into());
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
    unsafe { optimizer.as_ref() }.map_or(
        0,
        |optimizer| in_place!(&optimizer.place, o => o.steps_taken()),
    )
}

/// The learning rate that groups follow; NaN for null.
///
/// # Safety
/// `optimizer` is null or an optimizer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn himuon_learning_rate(optimizer: *const Optimizer) -> f64 {
    // SAFETY: the caller's word.
    unsafe { optimizer.as_ref() }.map_or(
        f64::NAN,
        |optimizer| in_place!(&optimizer.place, o => o.learning_rate()),
    )
}

/// Sets the learning rate that groups follow, from the next step on.
///
/// # Safety
/// `optimizer` is an optimizer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn himuon_set_learning_rate(optimizer: *mut Optimizer, rate: f64) -> Status {
    guarded(|| {
        check_rate(rate)?;
        // SAFETY: the caller's word.
        let optimizer = unsafe { optimizer_at(optimizer)? };
        in_place!(&mut *optimizer.place, optimizer => optimizer.set_learning_rate(rate));
        Ok(())
    })
}

/// A line for each parameter: shape, group, tiles, bytes, and why. Put into `text`, to be freed by
/// `himuon_text_free`; null if it fails.
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
        let place = unsafe { text_place(text)? };
        // SAFETY: the caller's word.
        let optimizer = unsafe { optimizer_at(optimizer)? };
        let lines = in_place!(&mut *optimizer.place, optimizer => optimizer.explain())?;
        *place = owned(lines.to_string());
        Ok(())
    })
}

/// What deserves a second look in the declaration, a line each, empty where there is nothing. Put into `text`, to be freed
/// by `himuon_text_free`; null if it fails.
///
/// # Safety
/// `optimizer` is an optimizer, `text` a place for a text.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn himuon_warnings(
    optimizer: *mut Optimizer,
    text: *mut *mut c_char,
) -> Status {
    guarded(|| {
        // SAFETY: the caller's word.
        let place = unsafe { text_place(text)? };
        // SAFETY: the caller's word.
        let optimizer = unsafe { optimizer_at(optimizer)? };
        let lines = in_place!(&*optimizer.place, optimizer => optimizer.warnings().join("\n"));
        *place = owned(lines);
        Ok(())
    })
}

/// # Safety
/// As [`cleared`].
unsafe fn text_place<'a>(text: *mut *mut c_char) -> Result<&'a mut *mut c_char, Failure> {
    // SAFETY: the caller's word.
    unsafe { cleared(text) }
        .ok_or_else(|| Failure::argument("the place of the text is null, expected a char**"))
}
