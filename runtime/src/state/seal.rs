//! States that were taken apart and put together again.

use std::borrow::Cow;
use std::path::PathBuf;

use safetensors::SafeTensors;

use super::StateError;
use super::file::{Content, Entry};

/// Gives the bytes of a safetensors file, whose metadata is that of a state, the order and the digest of a state file: for
/// trainers that keep a state's tensors in checkpoints of their own and put the file together again.
///
/// The digest is made from what is given here, so it says nothing about what happened to the tensors in between.
///
/// # Errors
/// [`StateError::NotState`] where the bytes are no safetensors file with metadata.
pub fn seal(bytes: &[u8]) -> Result<Vec<u8>, StateError> {
    let no_state = |reason: String| StateError::NotState {
        path: PathBuf::from("the state in memory"),
        reason,
    };
    let damaged = |error: safetensors::SafeTensorError| no_state(error.to_string());
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(damaged)?;
    let metadata = header.metadata().clone();
    let metadata = metadata.ok_or_else(|| no_state("it has no metadata".to_owned()))?;
    let tensors = SafeTensors::deserialize(bytes).map_err(damaged)?;
    let entries = tensors
        .iter()
        .map(|(name, tensor)| Entry {
            name: name.to_owned(),
            dtype: tensor.dtype(),
            shape: tensor.shape().to_vec(),
            bytes: Cow::Borrowed(tensor.data()),
        })
        .collect();
    Ok(Content::new(metadata.into_iter().collect(), entries)?.to_bytes())
}
