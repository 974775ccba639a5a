//! Input for verification and timing.

use half::{bf16, f16};
use himuon_templates::{Element, KernelSpec};

use crate::launch::{GroupScalars, MatrixStep, ScaleRule};
use crate::tensor::{TensorMut, TensorRef};

/// Standard normal numbers from a seed (SplitMix64, Box-Muller): the same on every machine.
pub(crate) struct Gaussian(u64);

impl Gaussian {
    pub(crate) fn new(seed: u64) -> Self {
        Gaussian(seed)
    }

    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((bits ^ (bits >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    pub(crate) fn vector(&mut self, len: usize) -> Vec<f32> {
        let mut normal = || {
            let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
            (radius * (std::f64::consts::TAU * self.uniform()).cos()) as f32
        };
        (0..len).map(|_| normal()).collect()
    }
}

/// Scalars of the steps that are timed.
pub(crate) const SAMPLE_SCALARS: GroupScalars = GroupScalars {
    learning_rate: 0.02,
    weight_decay: 0.1,
    mu: 0.95,
    c: 1.0,
    alpha: 1.0,
    beta: 0.95,
    scale_factor: 0.2,
    scale: ScaleRule::Exact,
    coarse_factor: 1.0,
    captured_decay: 0.0,
};

/// Numbers of any storage type.
#[derive(Debug)]
enum Numbers {
    F32(Vec<f32>),
    Bf16(Vec<bf16>),
    F16(Vec<f16>),
}

impl Numbers {
    fn new(element: Element, values: &[f32]) -> Self {
        match element {
            Element::F32 => Numbers::F32(values.to_vec()),
            Element::Bf16 => Numbers::Bf16(values.iter().map(|x| bf16::from_f32(*x)).collect()),
            Element::F16 => Numbers::F16(values.iter().map(|x| f16::from_f32(*x)).collect()),
        }
    }

    fn as_ref(&self) -> TensorRef<'_> {
        match self {
            Numbers::F32(values) => TensorRef::F32(values),
            Numbers::Bf16(values) => TensorRef::Bf16(values),
            Numbers::F16(values) => TensorRef::F16(values),
        }
    }

    fn as_mut(&mut self) -> TensorMut<'_> {
        match self {
            Numbers::F32(values) => TensorMut::F32(values),
            Numbers::Bf16(values) => TensorMut::Bf16(values),
            Numbers::F16(values) => TensorMut::F16(values),
        }
    }
}

#[derive(Debug)]
struct SampleMatrix {
    rows: usize,
    columns: usize,
    gradient: Numbers,
    momentum: Numbers,
    weight: Numbers,
    /// Empty without master weights.
    remainder: Vec<i16>,
}

/// The matrices of a step with Gaussian gradients.
#[derive(Debug)]
pub(super) struct StepSample {
    matrices: Vec<SampleMatrix>,
}

impl StepSample {
    pub(super) fn new(spec: &KernelSpec, shapes: &[(usize, usize)]) -> Self {
        let mut gaussian = Gaussian::new(2);
        let matrix = |&(rows, columns): &(usize, usize)| {
            let mut numbers = |element| Numbers::new(element, &gaussian.vector(rows * columns));
            SampleMatrix {
                rows,
                columns,
                gradient: numbers(spec.storage.weight),
                momentum: numbers(spec.storage.momentum),
                weight: numbers(spec.storage.weight),
                remainder: match spec.storage.master_weights {
                    true => vec![0; rows * columns],
                    false => Vec::new(),
                },
            }
        };
        StepSample {
            matrices: shapes.iter().map(matrix).collect(),
        }
    }

    pub(super) fn matrices(&mut self) -> Vec<MatrixStep<'_>> {
        self.matrices.iter_mut().map(step).collect()
    }
}

fn step(matrix: &mut SampleMatrix) -> MatrixStep<'_> {
    MatrixStep {
        rows: matrix.rows,
        columns: matrix.columns,
        gradient: matrix.gradient.as_ref(),
        gradient_leading: matrix.columns,
        momentum: matrix.momentum.as_mut(),
        weight: matrix.weight.as_mut(),
        weight_leading: matrix.columns,
        remainder: Some(matrix.remainder.as_mut_slice()).filter(|kept| !kept.is_empty()),
        row_normalisation: None,
        coarse: None,
        scalars: SAMPLE_SCALARS,
        diagnostics: None,
    }
}
