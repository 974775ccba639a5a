//! What tuning asks of a device.

use himuon_templates::{KernelSpec, Operand};

use super::fingerprint::DeviceFingerprint;
use super::level::Clock;
use crate::launch::GroupScalars;

/// A way to compute a specification on a device.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// The variant's name.
    pub variant: String,
    /// Digest of its source.
    pub digest: String,
    /// The model's time for one launch of the workload, in seconds; `None`: no model.
    pub predicted: Option<f64>,
}

/// Whether the caches hold anything of the launch when it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheState {
    /// They have been emptied: as between two steps of a training job.
    Cold,
    /// The same candidate has just run.
    Warm,
}

/// What an error says of the device rather than of the candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It has no room now. Of the candidate nothing is known.
    OutOfMemory,
    /// It is lost to this process, by the candidate that ran last: whatever runs next fails too.
    Lost,
}

/// The tensors of one step of one matrix, to judge a candidate by. Values are exact in the specification's types.
#[derive(Clone, Debug)]
pub struct StepCase {
    /// Rows H.
    pub rows: usize,
    /// Columns W.
    pub columns: usize,
    /// Gradient, H x W.
    pub gradient: Vec<f32>,
    /// Momentum, H x W.
    pub momentum: Vec<f32>,
    /// Weight, H x W.
    pub weight: Vec<f32>,
    /// Scalars of the group.
    pub scalars: GroupScalars,
}

/// A device under the tuner: it lists candidates and runs them. Errors are the device's words.
pub trait TuningTarget {
    /// The device.
    fn fingerprint(&self) -> DeviceFingerprint;

    /// What [`TuningTarget::run`] reads times from.
    fn clock(&self) -> Clock;

    /// Threads that share a launch; 1 for a GPU.
    fn threads(&self) -> usize;

    /// Whether every candidate gives the same bits, so that one that does not is wrong.
    fn same_bits(&self) -> bool;

    /// The type that the products of a specification take on this device: what results are judged by.
    fn operand(&self, spec: &KernelSpec) -> Operand;

    /// The candidates of a specification for a launch of matrices of these shapes (rows, columns), the default
    /// first, the others by the model's time.
    ///
    /// # Errors
    /// The device has no kernel for the specification.
    fn candidates(
        &self,
        spec: &KernelSpec,
        shapes: &[(usize, usize)],
    ) -> Result<Vec<Candidate>, String>;

    /// Told which variants will be judged next: what takes long and can be done side by side, such as compiling, is done here. What
    /// fails, fails again where it is asked for.
    fn compile_ahead(&mut self, spec: &KernelSpec, variants: &[&str]) {
        let _ = (spec, variants);
    }

    /// What the last error of [`TuningTarget::map`], [`TuningTarget::step`] or [`TuningTarget::run`] says of the device;
    /// `None`: the candidate alone has failed.
    fn trouble(&self) -> Option<Trouble> {
        None
    }

    /// The bare map of every tile of a matrix of `shape` (rows, columns). `output` comes filled with NaN.
    ///
    /// # Errors
    /// The candidate does not load or launch.
    fn map(
        &mut self,
        spec: &KernelSpec,
        variant: &str,
        shape: (usize, usize),
        input: &[f32],
        output: &mut [f32],
    ) -> Result<(), String>;

    /// One optimizer step; momentum and weight of the case change.
    ///
    /// # Errors
    /// As [`TuningTarget::map`].
    fn step(&mut self, spec: &KernelSpec, variant: &str, case: &mut StepCase)
    -> Result<(), String>;

    /// Makes the tensors that [`TuningTarget::run`] works on: Gaussian ones of these shapes.
    ///
    /// # Errors
    /// They do not fit.
    fn load(&mut self, spec: &KernelSpec, shapes: &[(usize, usize)]) -> Result<(), String>;

    /// Runs one optimizer step over the loaded tensors and returns its time in nanoseconds.
    ///
    /// # Errors
    /// As [`TuningTarget::map`].
    fn run(&mut self, spec: &KernelSpec, variant: &str, caches: CacheState) -> Result<u64, String>;
}
