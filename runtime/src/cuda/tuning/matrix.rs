//! Tensors of a matrix that is tuned on.

use half::{bf16, f16};
use himuon_templates::{Element, KernelSpec};

use crate::backend::BackendError;
use crate::cuda::memory::{Device, DeviceAllocator, DeviceBuffer};
use crate::launch::{GroupScalars, MatrixStep, StepWork};
use crate::memory::Memory;

/// The tensors of one matrix on the device.
#[derive(Debug)]
pub(super) struct DeviceMatrix {
    pub(super) rows: usize,
    pub(super) columns: usize,
    gradient: DeviceBuffer,
    pub(super) momentum: DeviceBuffer,
    pub(super) weight: DeviceBuffer,
    /// Empty without master weights.
    remainder: DeviceBuffer,
}

impl DeviceMatrix {
    /// Gradient, momentum and weight, rounded to the specification's types.
    pub(super) fn new(
        allocator: &DeviceAllocator,
        spec: &KernelSpec,
        (rows, columns): (usize, usize),
        [gradient, momentum, weight]: [&[f32]; 3],
    ) -> Result<Self, BackendError> {
        let buffer = |element: Element, values: &[f32], purpose| {
            Device::filled(allocator, element, values.len(), purpose, |bytes| {
                encode(element, values, bytes);
                Ok::<(), BackendError>(())
            })
        };
        let storage = spec.storage;
        let kept = usize::from(storage.master_weights) * rows * columns;
        Ok(DeviceMatrix {
            rows,
            columns,
            gradient: buffer(storage.weight, gradient, "a gradient")?,
            momentum: buffer(storage.momentum, momentum, "a momentum")?,
            weight: buffer(storage.weight, weight, "a weight")?,
            remainder: buffer(Element::Bf16, &vec![0.0; kept], "a remainder")?,
        })
    }
}

/// One launch of one chunk of all matrices: the tuner sets no memory budget.
pub(super) fn work(matrices: &mut [DeviceMatrix], scalars: GroupScalars) -> StepWork<'_, Device> {
    let step = |matrix| step(matrix, scalars);
    StepWork {
        launches: vec![vec![matrices.iter_mut().map(step).collect()]],
        elementwise: Vec::new(),
    }
}

fn step(matrix: &mut DeviceMatrix, scalars: GroupScalars) -> MatrixStep<'_, Device> {
    MatrixStep {
        rows: matrix.rows,
        columns: matrix.columns,
        gradient: Device::whole(&matrix.gradient),
        gradient_leading: matrix.columns,
        momentum: Device::whole_mut(&mut matrix.momentum),
        weight: Device::whole_mut(&mut matrix.weight),
        weight_leading: matrix.columns,
        remainder: Device::remainders(&mut matrix.remainder, matrix.rows * matrix.columns).pop(),
        row_normalisation: None,
        coarse: None,
        scalars,
        diagnostics: None,
    }
}

fn encode(element: Element, values: &[f32], bytes: &mut [u8]) {
    match element {
        Element::F32 => bytes.copy_from_slice(bytemuck::cast_slice(values)),
        Element::Bf16 => {
            let rounded: Vec<bf16> = values.iter().map(|x| bf16::from_f32(*x)).collect();
            bytes.copy_from_slice(bytemuck::cast_slice(&rounded));
        }
        Element::F16 => {
            let rounded: Vec<f16> = values.iter().map(|x| f16::from_f32(*x)).collect();
            bytes.copy_from_slice(bytemuck::cast_slice(&rounded));
        }
    }
}

pub(super) fn read(
    allocator: &DeviceAllocator,
    element: Element,
    buffer: &DeviceBuffer,
) -> Result<Vec<f32>, BackendError> {
    let bytes = Device::bytes(allocator, buffer)?;
    let pairs = || {
        let (pairs, _) = bytes.as_chunks::<2>();
        pairs.iter().map(|pair| u16::from_le_bytes(*pair))
    };
    Ok(match element {
        Element::F32 => {
            let (words, _) = bytes.as_chunks::<4>();
            words.iter().map(|word| f32::from_le_bytes(*word)).collect()
        }
        Element::Bf16 => pairs().map(|bits| bf16::from_bits(bits).to_f32()).collect(),
        Element::F16 => pairs().map(|bits| f16::from_bits(bits).to_f32()).collect(),
    })
}
