//! The fused AdamW step of parameters that are no matrices (embeddings, heads, norms, biases).

use super::error::CpuError;
use super::pool::Pool;
use super::simd::{InstructionSet, LANES, Simd, Vectorized, WithSimd};
use super::storage::{Pointer, Stored, read, with_type, write};
use super::validate;
use super::weights::{Place, Weights, with_place};
use crate::launch::{AdamWScalars, AdamWTensor};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// Elements that one thread takes at a time.
const ELEMENTS_AT_A_TIME: usize = 16 * 1024;

/// One AdamW step of every tensor, in place:
/// `m <- b1 m + (1 - b1) g; v <- b2 v + (1 - b2) g^2;`
/// `w <- (1 - lr wd) w - lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)`.
/// The bits depend neither on the number of threads nor on the instruction set.
///
/// A number whose moments would not be finite is left alone, moments and weight: an infinite v would stay for good. Returns how many
/// those were.
///
/// # Errors
/// When lengths differ or a scalar is out of range; then nothing has been written.
pub fn adamw_step(pool: &Pool, tensors: &mut [AdamWTensor<'_>]) -> Result<u64, CpuError> {
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
    let left_alone = AtomicU64::new(0);
    pool.for_each(units, |_, unit| {
        let index = firsts.partition_point(|first| *first <= unit) - 1;
        let job = &jobs[index];
        let start = (unit - firsts[index]) * ELEMENTS_AT_A_TIME;
        let elements = start..job.length.min(start + ELEMENTS_AT_A_TIME);
        let count = set.with(Part { job, elements });
        left_alone.fetch_add(count, Ordering::Relaxed);
    });
    Ok(left_alone.into_inner())
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
    type Output = u64;
    fn with<S: Simd>(self, simd: S) -> u64 {
        let Part { job, elements } = self;
        with_place!(job.weight, weight => with_type!(job.gradient, gradient => {
            simd.vectorize(Typed { job, weight, gradient: gradient.cast_const(), elements })
        }))
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
    type Output = u64;
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> u64 {
        let mut left_alone = 0;
        let zero = simd.splat(0.0);
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
                let old = [
                    read(simd, first.cast_const(), count),
                    read(simd, second.cast_const(), count),
                    self.weight.read(simd, 0, at, count),
                ];
                let m = simd.fused(beta1, old[0], simd.mul(rest1, g));
                let v = simd.fused(beta2, old[1], simd.mul(rest2, simd.mul(g, g)));
                let divisor = simd.fused(simd.sqrt(v), root, epsilon);
                let w = simd.fused(step, simd.div(m, divisor), simd.mul(keep, old[2]));
                let mut new = [m, v, w];
                // 0 times what is not finite is no number.
                let poison = simd.fused(zero, m, simd.mul(zero, v));
                if simd.to_line(poison).sum().is_nan() {
                    left_alone += keep_lanes(simd, old, &mut new);
                }
                write(simd, first, new[0], count);
                write(simd, second, new[1], count);
                self.weight.write(simd, (0, at), new[2], count);
            }
            at += count;
        }
        left_alone
    }
}

/// Puts the old numbers, moments and weight, back into the lanes whose moments are not finite; says how many those are.
#[cold]
#[inline(never)]
fn keep_lanes<S: Simd>(simd: S, old: [S::Vector; 3], new: &mut [S::Vector; 3]) -> u64 {
    let (old, mut lines) = (
        old.map(|vector| simd.to_line(vector)),
        new.map(|vector| simd.to_line(vector)),
    );
    let mut kept = 0;
    for lane in 0..LANES {
        if !(lines[0].0[lane].is_finite() && lines[1].0[lane].is_finite()) {
            kept += 1;
            for (line, old) in lines.iter_mut().zip(&old) {
                line.0[lane] = old.0[lane];
            }
        }
    }
    // SAFETY: a line holds sixteen numbers.
    *new = lines.map(|line| unsafe { simd.load(line.0.as_ptr()) });
    kept
}

#[cfg(test)]
mod tests {
    use super::adamw_step;
    use crate::cpu::Pool;
    use crate::launch::{AdamWScalars, AdamWTensor};
    use crate::tensor::{TensorMut, TensorRef};

    const SCALARS: AdamWScalars = AdamWScalars {
        learning_rate: 1e-2,
        weight_decay: 0.1,
        beta1: 0.9,
        beta2: 0.99,
        epsilon: 1e-8,
        step: 1,
    };

    /// A step over `[weight, gradient, m, v]`; how many numbers were left alone.
    fn step([weight, gradient, first, second]: &mut [Vec<f32>; 4]) -> u64 {
        let mut tensors = [AdamWTensor {
            weight: TensorMut::F32(weight),
            gradient: TensorRef::F32(gradient),
            first_moment: first.as_mut_slice(),
            second_moment: second.as_mut_slice(),
            remainder: None,
            scalars: SCALARS,
        }];
        adamw_step(&Pool::new(1).unwrap(), &mut tensors).unwrap()
    }

    /// The square of 1e20 is no f32; the others of its vector are updated as without it.
    #[test]
    fn a_number_whose_moments_would_overflow_is_left_alone() {
        let numbers = |scale: f32| (0..37).map(|i| scale * (i as f32 - 18.5)).collect();
        let mut plain = [numbers(0.1), numbers(1e-3), vec![0.0; 37], vec![0.0; 37]];
        let mut met = plain.clone();
        for (at, value) in [(3, 1e20), (20, f32::NAN), (36, f32::NEG_INFINITY)] {
            met[1][at] = value;
        }
        let before = met.clone();
        assert_eq!(step(&mut plain), 0);
        assert_eq!(step(&mut met), 3);
        for tensor in [0, 2, 3] {
            for at in 0..37 {
                let expected = match [3, 20, 36].contains(&at) {
                    true => before[tensor][at],
                    false => plain[tensor][at],
                };
                assert_eq!(
                    met[tensor][at].to_bits(),
                    expected.to_bits(),
                    "{tensor} {at}"
                );
            }
        }
    }
}
