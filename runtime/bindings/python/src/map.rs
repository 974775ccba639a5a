//! The bare map of one matrix.

use himuon::KernelSpec;
use himuon::cpu::{ApplyScale, CpuKernel, Pool, Workspace, with_default_floats};
use himuon::overlap::overlap;
use himuon::tensor::TensorMut;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use crate::errors::argument;
use crate::place::Place;
use crate::tensor::Borrowed;

/// Maps every tile of a matrix, without a scale, into `output`, a float32 matrix of the same shape. A tile that holds a NaN
/// or an infinity becomes zero.
#[pyfunction]
#[pyo3(signature = (matrix, spec, output, *, threads=None))]
pub(crate) fn map_into(
    py: Python<'_>,
    matrix: &Bound<'_, PyAny>,
    spec: &str,
    output: &Bound<'_, PyAny>,
    threads: Option<usize>,
) -> PyResult<()> {
    let refused = |error: &dyn std::fmt::Display| argument(error.to_string());
    let spec: KernelSpec = spec.parse().map_err(|error| argument(format!("{error}")))?;
    let shape: Vec<usize> = matrix.getattr("shape")?.extract()?;
    let [rows, columns] = shape[..] else {
        return Err(argument(format!(
            "the matrix has shape {shape:?}, expected two dimensions"
        )));
    };
    let matrix = Borrowed::new(matrix, "the matrix".to_owned(), &shape, Place::Cpu)?;
    let output = Borrowed::new(output, "the output".to_owned(), &shape, Place::Cpu)?;
    output.check_writable()?;
    if overlap(&[output.range()], &[Some(matrix.range())]).is_some() {
        return Err(argument(
            "the output overlaps the matrix, expected memory of its own",
        ));
    }
    // SAFETY: borrowed until the end of this function; the matrix is not written to and the output nobody else's, by the
    // check above and as the package's documentation asks of other threads.
    let (matrix, output) = unsafe { (matrix.read(), output.write()) };
    let TensorMut::F32(output) = output else {
        return Err(PyTypeError::new_err("the output is not of float32"));
    };
    let kernel = CpuKernel::new(&spec).map_err(|error| refused(&error))?;
    let available = || std::thread::available_parallelism().map_or(1, usize::from);
    let pool = Pool::new(threads.unwrap_or_else(available)).map_err(|error| refused(&error))?;
    py.detach(|| {
        let mut workspace = Workspace::new();
        let scale = ApplyScale::None;
        with_default_floats(|| {
            kernel.map(&pool, matrix, rows, columns, output, scale, &mut workspace)
        })
    })
    .map_err(|error| refused(&error))?;
    Ok(())
}
