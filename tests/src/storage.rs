//! Owned tensors of any storage type, with room between the rows.

use half::{bf16, f16};
use himuon::reference::Matrix;
use himuon::templates::Element;
use himuon::tensor::{TensorMut, TensorRef};

/// Numbers of one storage type.
#[derive(Clone, Debug)]
pub enum Buffer {
    /// binary32.
    F32(Vec<f32>),
    /// bfloat16.
    Bf16(Vec<bf16>),
    /// binary16.
    F16(Vec<f16>),
}

impl Buffer {
    /// `matrix` rounded to `element`, its row `i` at `i * leading`, with `between` in the room that is left.
    pub fn new(matrix: &Matrix, element: Element, leading: usize, between: f32) -> Buffer {
        let values = (0..matrix.rows() * leading).map(|index| {
            let (row, column) = (index / leading, index % leading);
            if column < matrix.columns() {
                matrix.get(row, column)
            } else {
                f64::from(between)
            }
        });
        match element {
            Element::F32 => Buffer::F32(values.map(|v| v as f32).collect()),
            Element::Bf16 => Buffer::Bf16(values.map(bf16::from_f64).collect()),
            Element::F16 => Buffer::F16(values.map(f16::from_f64).collect()),
        }
    }

    /// `matrix` without room between the rows.
    pub fn contiguous(matrix: &Matrix, element: Element) -> Buffer {
        Buffer::new(matrix, element, matrix.columns(), 0.0)
    }

    /// To read.
    pub fn read(&self) -> TensorRef<'_> {
        match self {
            Buffer::F32(values) => TensorRef::F32(values),
            Buffer::Bf16(values) => TensorRef::Bf16(values),
            Buffer::F16(values) => TensorRef::F16(values),
        }
    }

    /// To write.
    pub fn write(&mut self) -> TensorMut<'_> {
        match self {
            Buffer::F32(values) => TensorMut::F32(values),
            Buffer::Bf16(values) => TensorMut::Bf16(values),
            Buffer::F16(values) => TensorMut::F16(values),
        }
    }

    /// As a matrix.
    pub fn matrix(&self, rows: usize, columns: usize, leading: usize) -> Matrix {
        Matrix::from_tensor(self.read(), rows, columns, leading)
    }

    /// The bits of each number.
    pub fn bits(&self) -> Vec<u32> {
        match self {
            Buffer::F32(values) => values.iter().map(|v| v.to_bits()).collect(),
            Buffer::Bf16(values) => values.iter().map(|v| u32::from(v.to_bits())).collect(),
            Buffer::F16(values) => values.iter().map(|v| u32::from(v.to_bits())).collect(),
        }
    }
}

/// The numbers as bytes, in the machine's order.
pub fn bytes(tensor: TensorRef<'_>) -> &[u8] {
    match tensor {
        TensorRef::F32(values) => bytemuck::cast_slice(values),
        TensorRef::Bf16(values) => bytemuck::cast_slice(values),
        TensorRef::F16(values) => bytemuck::cast_slice(values),
    }
}

/// The same, to be written.
pub fn bytes_mut(tensor: TensorMut<'_>) -> &mut [u8] {
    match tensor {
        TensorMut::F32(values) => bytemuck::cast_slice_mut(values),
        TensorMut::Bf16(values) => bytemuck::cast_slice_mut(values),
        TensorMut::F16(values) => bytemuck::cast_slice_mut(values),
    }
}

/// `count` times `value`, as bytes.
pub fn filled(element: Element, count: usize, value: f32) -> Vec<u8> {
    let matrix = Matrix::from_fn(1, count, |_, _| f64::from(value));
    bytes(Buffer::contiguous(&matrix, element).read()).to_vec()
}

/// Half the distance between neighbouring numbers of `element` near `value`: the largest rounding error.
pub fn half_ulp(element: Element, value: f64) -> f64 {
    let (digits, smallest_exponent) = match element {
        Element::F32 => (24, -126),
        Element::Bf16 => (8, -126),
        Element::F16 => (11, -14),
    };
    let exponent = if value == 0.0 {
        smallest_exponent
    } else {
        (value.abs().log2().floor() as i32).max(smallest_exponent)
    };
    2f64.powi(exponent - digits)
}
