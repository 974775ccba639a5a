//! The fused AdamW step of parameters that are no matrices (embeddings, heads, norms, biases).

use super::error::CpuError;
use super::pool::Pool;
use super::simd::{InstructionSet, LANES, Simd, Vectorized, WithSimd};
use super::storage::{Pointer, Stored, read, with_type, write};
use super::validate;
use super::weights::{Place, Weights, with_place};
use crate::launch::{AdamWScalars, AdamWTensor};
use std::ops::Range;

/// Elements that one thread takes at a time.
const ELEMENTS_AT_A_TIME: usize = 16 * 1024;

/// One AdamW step of every tensor, in place:
/// `m <- b1 m + (1 - b1) g; v <- b2 v + (1 - b2) g^2;`
/// `w <- (1 - lr wd) w - lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)`.
/// The bits depend neither on the number of threads nor on the instruction set.
///
/// # Errors
/// When lengths differ or a scalar is out of range; then nothing has been written.
pub fn adamw_step(pool: &Pool, tensors: &mut [AdamWTensor<'_>]) -> Result<(), CpuError> {
    for (index, tensor) in tensors.iter().enumerate() {
        check(index, tensor)?;
    }
    let jobs: Vec<Job> = tensors.iter_mut().map(Job::new).collect();
    let mut firsts = Vec::with_capacity(jobs.len());
    let mut units = 0;
    for job in &jobs {
        firsts.push(units);
        units += job.length.div_ceil(ELEMENTS_AT_A_TIME);
    }
    let set = InstructionSet::best();
    pool.for_each(units, |_, unit| {
        let index = firsts.partition_point(|first| *first <= unit) - 1;
        let job = &jobs[index];
        let start = (unit - firsts[index]) * ELEMENTS_AT_A_TIME;
        let elements = start..job.length.min(start + ELEMENTS_AT_A_TIME);
        set.with(Part { job, elements });
    });
    Ok(())
}

fn check(index: usize, tensor: &AdamWTensor<'_>) -> Result<(), CpuError> {
    let needed = tensor.weight.len();
    validate::exactly(index, "gradient", tensor.gradient.len(), needed)?;
    validate::exactly(index, "first moment", tensor.first_moment.len(), needed)?;
    validate::exactly(index, "second moment", tensor.second_moment.len(), needed)?;
    if let Some(remainder) = &tensor.remainder {
        validate::exactly(index, "remainder", remainder.len(), needed)?;
        validate::bf16_master(index, tensor.weight.element())?;
    }
    let scalars = &tensor.scalars;
    for (name, value) in [("beta1", scalars.beta1), ("beta2", scalars.beta2)] {
        let accepted = (0.0..1.0).contains(&value);
        validate::scalar(index, name, value, accepted, "0 to below 1 is accepted")?;
    }
    for (name, value) in [
        ("learning rate", scalars.learning_rate),
        ("weight decay", scalars.weight_decay),
        ("epsilon", scalars.epsilon),
    ] {
        validate::not_negative(index, name, value)?;
    }
    validate::scalar(
        index,
        "step",
        scalars.step as f32,
        scalars.step > 0,
        "steps count from 1",
    )?;
    validate::decay(index, scalars.learning_rate, scalars.weight_decay)
}

/// One tensor, resolved to addresses.
struct Job {
    weight: Weights,
    gradient: Pointer,
    first_moment: *mut f32,
    second_moment: *mut f32,
    length: usize,
    scalars: AdamWScalars,
}

// SAFETY: addresses only; every element is handed to one thread.
unsafe impl Send for Job {}
// SAFETY: as above.
unsafe impl Sync for Job {}

impl Job {
    fn new(tensor: &mut AdamWTensor<'_>) -> Job {
        Job {
            length: tensor.weight.len(),
            weight: Weights {
                start: Pointer::to_write(&mut tensor.weight),
                leading: 0,
                remainder: tensor
                    .remainder
                    .as_mut()
                    .map(|remainder| (remainder.as_mut_ptr(), 0)),
            },
            gradient: Pointer::to_read(tensor.gradient),
            first_moment: tensor.first_moment.as_mut_ptr(),
            second_moment: tensor.second_moment.as_mut_ptr(),
            scalars: tensor.scalars,
        }
    }
}

/// Some elements of a tensor.
struct Part<'a> {
    job: &'a Job,
    elements: Range<usize>,
}

impl WithSimd for Part<'_> {
    type Output = ();
    fn with<S: Simd>(self, simd: S) {
        let Part { job, elements } = self;
        with_place!(job.weight, weight => with_type!(job.gradient, gradient => {
            simd.vectorize(Typed { job, weight, gradient: gradient.cast_const(), elements });
        }));
    }
}

/// Some elements of a tensor of known types, which the job holds.
struct Typed<'a, W, G> {
    job: &'a Job,
    weight: W,
    gradient: *const G,
    elements: Range<usize>,
}

impl<W: Place, G: Stored> Vectorized for Typed<'_, W, G> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let scalars = self.job.scalars;
        let (rate, decay) = (
            f64::from(scalars.learning_rate),
            f64::from(scalars.weight_decay),
        );
        let correction = |beta: f32| 1.0 - f64::from(beta).powf(scalars.step as f64);
        let keep = simd.splat((1.0 - rate * decay) as f32);
        let step = simd.splat((-rate / correction(scalars.beta1)) as f32);
        let root = simd.splat((1.0 / correction(scalars.beta2).sqrt()) as f32);
        let epsilon = simd.splat(scalars.epsilon);
        let (beta1, rest1) = (simd.splat(scalars.beta1), simd.splat(1.0 - scalars.beta1));
        let (beta2, rest2) = (simd.splat(scalars.beta2), simd.splat(1.0 - scalars.beta2));
        let mut at = self.elements.start;
        while at < self.elements.end {
            let count = LANES.min(self.elements.end - at);
            // SAFETY: `check` compared the lengths; these elements are this thread's alone.
            unsafe {
                let g = read(simd, self.gradient.add(at), count);
                let first = self.job.first_moment.add(at);
                let second = self.job.second_moment.add(at);
                let m = simd.fused(
                    beta1,
                    read(simd, first.cast_const(), count),
                    simd.mul(rest1, g),
                );
                let squares = simd.mul(rest2, simd.mul(g, g));
                let v = simd.fused(beta2, read(simd, second.cast_const(), count), squares);
                let divisor = simd.fused(simd.sqrt(v), root, epsilon);
                let kept = simd.mul(keep, self.weight.read(simd, 0, at, count));
                let new = simd.fused(step, simd.div(m, divisor), kept);
                write(simd, first, m, count);
                write(simd, second, v, count);
                self.weight.write(simd, (0, at), new, count);
            }
            at += count;
        }
    }
}
