//! Reading and writing safetensors files.

use super::error::ApplyError;
use himuon::templates::files;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors, View, serialize_to_file};
use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

/// A parsed file.
#[derive(Debug)]
pub(crate) struct Input<'a> {
    /// By name, sorted.
    pub(crate) tensors: Vec<(String, TensorView<'a>)>,
    pub(crate) metadata: Option<HashMap<String, String>>,
}

/// A file to be written.
#[derive(Debug)]
pub(crate) struct Output<'a> {
    pub(crate) tensors: Vec<(String, OutputTensor<'a>)>,
    pub(crate) metadata: Option<HashMap<String, String>>,
}

/// A tensor to be written.
#[derive(Debug)]
pub(crate) struct OutputTensor<'a> {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Cow<'a, [u8]>,
}

impl<'a> OutputTensor<'a> {
    /// As it was read.
    pub(crate) fn copied(view: TensorView<'a>) -> OutputTensor<'a> {
        OutputTensor {
            dtype: view.dtype(),
            shape: view.shape().to_vec(),
            bytes: Cow::Borrowed(view.data()),
        }
    }

    /// `values` in the shape of `view`.
    pub(crate) fn mapped(view: &TensorView<'_>, values: Vec<f32>) -> OutputTensor<'a> {
        OutputTensor {
            dtype: Dtype::F32,
            shape: view.shape().to_vec(),
            bytes: Cow::Owned(
                values
                    .iter()
                    .flat_map(|value| value.to_le_bytes())
                    .collect(),
            ),
        }
    }
}

impl View for OutputTensor<'_> {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

/// Refuses an output that is the input, by whatever path.
pub(crate) fn refuse_same_path(input: &Path, output: &Path) -> Result<(), ApplyError> {
    if files::same(input, output) {
        return Err(ApplyError::SamePath {
            path: output.to_owned(),
        });
    }
    Ok(())
}

/// The bytes of a file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, ApplyError> {
    std::fs::read(path).map_err(|source| ApplyError::Read {
        path: path.to_owned(),
        source,
    })
}

/// The tensors in the bytes of a file.
pub(crate) fn parse<'a>(path: &Path, bytes: &'a [u8]) -> Result<Input<'a>, ApplyError> {
    let format = |error: safetensors::SafeTensorError| ApplyError::Format {
        path: path.to_owned(),
        reason: error.to_string(),
    };
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(format)?;
    let file = SafeTensors::deserialize(bytes).map_err(format)?;
    let mut tensors = file.tensors();
    tensors.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(Input {
        tensors,
        metadata: header.metadata().clone(),
    })
}

/// Writes a file beside its place and renames it into place.
pub(crate) fn write(path: &Path, output: Output<'_>) -> Result<(), ApplyError> {
    let failed = |reason: String| ApplyError::Write {
        path: path.to_owned(),
        reason,
    };
    files::write_named(path, |name| {
        serialize_to_file(output.tensors, output.metadata, name).map_err(std::io::Error::other)
    })
    .map_err(|error| failed(error.to_string()))
}
