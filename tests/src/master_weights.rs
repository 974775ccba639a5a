//! A matrix and a vector of bf16 weights whose optimizer keeps f32 masters: numbers, steps on the CPU, and what state files
//! hold.
#![allow(clippy::unwrap_used)] // Helpers fail their test.

use std::path::Path;

use half::bf16;
use himuon::master_weight::master_weight;
use himuon::optimizer::StepReport;
use himuon::tensor::{TensorMut, TensorRef};
use himuon::{Error, HiMuon, ParameterStep};
use safetensors::{Dtype, SafeTensors};

use crate::random::Random;

/// Something of both parameters.
pub type Both<T> = [Vec<T>; 2];

/// Normal numbers.
pub fn numbers(seed: u64, lengths: [usize; 2]) -> Both<bf16> {
    lengths.map(|len| {
        let mut random = Random::new(seed);
        let numbers = (0..len).map(|_| bf16::from_f64(random.normal()));
        numbers.collect()
    })
}

/// The same numbers in f32.
pub fn widened(numbers: &Both<bf16>) -> Both<f32> {
    numbers
        .each_ref()
        .map(|numbers| numbers.iter().map(|number| number.to_f32()).collect())
}

/// One step of bf16 weights.
///
/// # Errors
/// Those of the step.
pub fn step_narrow(
    optimizer: &mut HiMuon,
    weights: &mut Both<bf16>,
    gradients: &Both<bf16>,
) -> Result<StepReport, Error> {
    let pairs = weights.iter_mut().zip(gradients);
    let mut parameters: Vec<_> = pairs
        .map(|(weight, gradient)| ParameterStep {
            weight: TensorMut::Bf16(weight),
            gradient: Some(TensorRef::Bf16(gradient)),
        })
        .collect();
    optimizer.step(&mut parameters)
}

/// One step of f32 weights.
///
/// # Errors
/// Those of the step.
pub fn step_wide(
    optimizer: &mut HiMuon,
    weights: &mut Both<f32>,
    gradients: &Both<f32>,
) -> Result<StepReport, Error> {
    let pairs = weights.iter_mut().zip(gradients);
    let mut parameters: Vec<_> = pairs
        .map(|(weight, gradient)| ParameterStep {
            weight: TensorMut::F32(weight),
            gradient: Some(TensorRef::F32(gradient)),
        })
        .collect();
    optimizer.step(&mut parameters)
}

/// The remainders that a state file holds of the parameters of these names.
pub fn remainders(path: &Path, names: [&str; 2]) -> Both<i16> {
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    names.map(|name| {
        let tensor = file.tensor(&format!("{name}.master_remainder")).unwrap();
        assert_eq!(tensor.dtype(), Dtype::I16);
        let (pairs, _) = tensor.data().as_chunks::<2>();
        pairs.iter().map(|pair| i16::from_le_bytes(*pair)).collect()
    })
}

/// The masters of weights with these remainders.
pub fn masters(weights: &Both<bf16>, remainders: &Both<i16>) -> Both<f32> {
    [0, 1].map(|part| {
        let (weights, remainders) = (&weights[part], &remainders[part]);
        assert_eq!(weights.len(), remainders.len());
        let pairs = weights.iter().zip(remainders);
        pairs
            .map(|(weight, remainder)| master_weight(*weight, *remainder))
            .collect()
    })
}

/// Their bits.
pub fn bits(numbers: &Both<f32>) -> Both<u32> {
    numbers
        .each_ref()
        .map(|numbers| numbers.iter().map(|number| number.to_bits()).collect())
}
