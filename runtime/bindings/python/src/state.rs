//! States in pieces, for checkpoints of another form.

use std::collections::{HashMap, HashSet};

use himuon::state::seal;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use crate::errors::StateError;

/// Name, safetensors' type, shape and bytes.
type Tensor<'py> = (String, String, Vec<usize>, Bound<'py, PyBytes>);

const TYPES: [Dtype; 4] = [Dtype::F32, Dtype::BF16, Dtype::F16, Dtype::I16];

fn refused(error: impl std::fmt::Display) -> PyErr {
    StateError::new_err(format!("the state in memory: {error}"))
}

/// Takes the bytes of a state apart: its metadata, and `(name, type, shape, bytes)` of each tensor.
#[pyfunction]
pub(crate) fn read_state<'py>(
    py: Python<'py>,
    state: &[u8],
) -> PyResult<(HashMap<String, String>, Vec<Tensor<'py>>)> {
    let (_, header) = SafeTensors::read_metadata(state).map_err(refused)?;
    let tensors = SafeTensors::deserialize(state).map_err(refused)?;
    let tensors = tensors.iter().map(|(name, tensor)| {
        let element = format!("{:?}", tensor.dtype());
        let bytes = PyBytes::new(py, tensor.data());
        (name.to_owned(), element, tensor.shape().to_vec(), bytes)
    });
    let tensors = tensors.collect();
    Ok((header.metadata().clone().unwrap_or_default(), tensors))
}

/// Puts a state together again from what `read_state` gave.
#[pyfunction]
pub(crate) fn write_state<'py>(
    py: Python<'py>,
    metadata: HashMap<String, String>,
    tensors: Vec<Tensor<'py>>,
) -> PyResult<Bound<'py, PyBytes>> {
    let views = tensors
        .iter()
        .map(|(name, element, shape, bytes)| {
            let known = TYPES.iter().find(|known| format!("{known:?}") == *element);
            let known = known.ok_or_else(|| {
                refused(format!(
                    "tensor {name} has type {element}, expected one of {TYPES:?}"
                ))
            })?;
            let view = TensorView::new(*known, shape.clone(), bytes.as_bytes()).map_err(refused)?;
            Ok((name.as_str(), view))
        })
        .collect::<PyResult<Vec<_>>>()?;
    let names: HashSet<_> = views.iter().map(|(name, _)| name).collect();
    if names.len() < views.len() {
        return Err(refused("two of its tensors have one name"));
    }
    let bytes = safetensors::serialize(views, Some(metadata)).map_err(refused)?;
    Ok(PyBytes::new(py, &seal(&bytes).map_err(refused)?))
}
