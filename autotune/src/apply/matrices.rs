//! The matrices in a tensor.

use half::{bf16, f16};
use himuon::reference::TileBounds;
use himuon::templates::Element;
use himuon::tensor::TensorRef;
use safetensors::Dtype;
use safetensors::tensor::TensorView;

/// A tensor seen as `count` matrices of one size, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Matrices {
    pub(crate) element: Element,
    pub(crate) count: usize,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
}

/// Why a tensor without a number is left out.
pub(crate) const EMPTY: &str = "it is empty";

/// The type of the numbers; the error is the reason why they are none of an optimizer's.
pub(crate) fn element_of(dtype: Dtype) -> Result<Element, String> {
    match dtype {
        Dtype::F32 => Ok(Element::F32),
        Dtype::BF16 => Ok(Element::Bf16),
        Dtype::F16 => Ok(Element::F16),
        other => Err(format!(
            "its type is {other:?}; F32, BF16 and F16 are mapped"
        )),
    }
}

impl Matrices {
    /// (H, W): one matrix. (experts, H, W): a stack. (out, in, h, w): a convolution, (out, in h w). The error is
    /// the reason why it is none.
    pub(crate) fn of(view: &TensorView<'_>) -> Result<Matrices, String> {
        let element = element_of(view.dtype())?;
        let (count, rows, columns) = match *view.shape() {
            [rows, columns] => (1, rows, columns),
            [count, rows, columns] => (count, rows, columns),
            [out, input, height, width] => (1, out, input * height * width),
            [] => return Err("it is a scalar; 2 to 4 dimensions are mapped".to_owned()),
            [_] => return Err("it is a vector; 2 to 4 dimensions are mapped".to_owned()),
            ref shape => {
                let dimensions = shape.len();
                return Err(format!("it has {dimensions} dimensions; 2 to 4 are mapped"));
            }
        };
        if count * rows * columns == 0 {
            return Err(EMPTY.to_owned());
        }
        Ok(Matrices {
            element,
            count,
            rows,
            columns,
        })
    }
}

/// The numbers of one matrix.
#[derive(Debug)]
pub(crate) enum Values {
    F32(Vec<f32>),
    Bf16(Vec<bf16>),
    F16(Vec<f16>),
}

impl Values {
    /// Little-endian numbers of type `element`, rounded to `wanted` if that is another type.
    pub(crate) fn read(bytes: &[u8], element: Element, wanted: Option<Element>) -> Values {
        let stored = match element {
            Element::F32 => Values::F32(numbers(bytes, f32::from_le_bytes)),
            Element::Bf16 => Values::Bf16(numbers(bytes, bf16::from_le_bytes)),
            Element::F16 => Values::F16(numbers(bytes, f16::from_le_bytes)),
        };
        match wanted {
            Some(wanted) if wanted != element => stored.rounded(wanted),
            _ => stored,
        }
    }

    fn rounded(&self, element: Element) -> Values {
        let values = self.to_f32();
        let values = values.iter().copied();
        match element {
            Element::F32 => Values::F32(values.collect()),
            Element::Bf16 => Values::Bf16(values.map(bf16::from_f32).collect()),
            Element::F16 => Values::F16(values.map(f16::from_f32).collect()),
        }
    }

    /// Widened to `f32`.
    pub(crate) fn to_f32(&self) -> Vec<f32> {
        match self {
            Values::F32(values) => values.clone(),
            Values::Bf16(values) => values.iter().map(|value| value.to_f32()).collect(),
            Values::F16(values) => values.iter().map(|value| value.to_f32()).collect(),
        }
    }

    /// To read.
    pub(crate) fn as_ref(&self) -> TensorRef<'_> {
        match self {
            Values::F32(values) => TensorRef::F32(values),
            Values::Bf16(values) => TensorRef::Bf16(values),
            Values::F16(values) => TensorRef::F16(values),
        }
    }

    /// Puts every tile in which `mapped`, what was mapped of these numbers, has a NaN or an infinity into `output` as it is here.
    pub(crate) fn restore_non_finite(
        &self,
        mapped: &Values,
        tiles: &[TileBounds],
        columns: usize,
        output: &mut [f32],
    ) {
        let (values, mapped) = (self.to_f32(), mapped.to_f32());
        for bounds in tiles {
            let rows = || {
                (bounds.row..bounds.row + bounds.rows).map(|row| {
                    let start = row * columns + bounds.column;
                    start..start + bounds.columns
                })
            };
            let finite = rows().all(|row| mapped[row].iter().all(|value| value.is_finite()));
            if !finite {
                for row in rows() {
                    output[row.clone()].copy_from_slice(&values[row]);
                }
            }
        }
    }
}

fn numbers<const BYTES: usize, T>(bytes: &[u8], read: impl Fn([u8; BYTES]) -> T) -> Vec<T> {
    let (numbers, _) = bytes.as_chunks::<BYTES>();
    numbers.iter().map(|bytes| read(*bytes)).collect()
}
