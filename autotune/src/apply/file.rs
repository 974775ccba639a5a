//! Reading and writing safetensors files.

use super::error::ApplyError;
use himuon::templates::files;
use safetensors::tensor::{Metadata, TensorView};
use safetensors::{Dtype, SafeTensorError, SafeTensors, View, serialize_to_file};
use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

/// The limit of the format itself.
const LARGEST_HEADER: u64 = 100_000_000;

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

/// The header of a file alone: names, types and shapes of its tensors, however many numbers there are.
pub(crate) fn header(path: &Path) -> Result<Metadata, ApplyError> {
    let failed = |source| ApplyError::Read {
        path: path.to_owned(),
        source,
    };
    let format = |error: SafeTensorError| ApplyError::Format {
        path: path.to_owned(),
        reason: error.to_string(),
    };
    let mut file = File::open(path).map_err(failed)?;
    let mut size = [0; 8];
    match file.read_exact(&mut size) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
            return Err(format(SafeTensorError::HeaderTooSmall));
        }
        read => read.map_err(failed)?,
    }
    let size = u64::from_le_bytes(size);
    if size > LARGEST_HEADER {
        return Err(format(SafeTensorError::HeaderTooLarge));
    }
    let mut text = Vec::new();
    let found = (&file).take(size).read_to_end(&mut text).map_err(failed)?;
    if found as u64 != size {
        return Err(format(SafeTensorError::InvalidHeaderLength));
    }
    let header: Metadata = serde_json::from_slice(&text)
        .map_err(|error| format(SafeTensorError::InvalidHeaderDeserialization(error)))?;
    let about = file.metadata().map_err(failed)?;
    let numbers = match about.is_file() {
        true => about.len().saturating_sub(8 + size),
        // A pipe tells its length by its end.
        false => std::io::copy(&mut file, &mut std::io::sink()).map_err(failed)?,
    };
    match numbers == header.data_len() as u64 {
        true => Ok(header),
        false => Err(format(SafeTensorError::MetadataIncompleteBuffer)),
    }
}

/// The tensors in the bytes of a file.
pub(crate) fn parse<'a>(path: &Path, bytes: &'a [u8]) -> Result<Input<'a>, ApplyError> {
    let format = |error: SafeTensorError| ApplyError::Format {
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
