//! The bare map of one matrix.

use std::ffi::c_char;

use himuon::KernelSpec;
use himuon::cpu::{ApplyScale, CpuKernel, Pool, Workspace};

use crate::status::{Failure, Status, guarded};
use crate::tensor::{HIMUON_F32, Tensor, check_apart};
use crate::text::borrowed;

/// Maps every tile of a `rows` x `columns` matrix, without a scale, into `output` of f32: what a step would take the weight
/// along. To compare with any other implementation. With `coarse=r` the tiles are coupled, by a basis that 8 power iterations
/// make from its seeds. A tile that holds a NaN or an infinity becomes zero. On the CPU, both tensors in this process's memory.
///
/// # Safety
/// `specification` ends with a zero; the numbers of both tensors are there; nobody else uses the output meanwhile or
/// writes to the matrix.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn himuon_map(
    specification: *const c_char,
    matrix: Tensor,
    rows: usize,
    columns: usize,
    output: Tensor,
) -> Status {
    guarded(|| {
        // SAFETY: the caller's word.
        let specification = unsafe { borrowed(specification, "the specification")? };
        let specification: KernelSpec = specification.parse().map_err(Failure::refused)?;
        check_apart(&[output], &[matrix])?;
        if output.element != HIMUON_F32 || matrix.data.is_null() {
            return Err(Failure::argument(
                "expected a matrix, and an output of element type HIMUON_F32 (0)",
            ));
        }
        if rows.checked_mul(columns) != Some(matrix.len) || output.len != matrix.len {
            return Err(Failure::argument(format!(
                "{rows} x {columns}: matrix and output have {} and {} numbers, expected rows x columns",
                matrix.len, output.len
            )));
        }
        let kernel = CpuKernel::new(&specification).map_err(Failure::refused)?;
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let pool = Pool::new(threads).map_err(Failure::refused)?;
        // SAFETY: aligned, not null and apart by the checks above; the rest is the caller's word.
        let (matrix, output) = unsafe {
            let numbers = output.data.cast::<f32>();
            (
                matrix.read(),
                std::slice::from_raw_parts_mut(numbers, output.len),
            )
        };
        let mut workspace = Workspace::new();
        let scale = ApplyScale::None;
        kernel
            .map(&pool, matrix, rows, columns, output, scale, &mut workspace)
            .map_err(Failure::refused)?;
        Ok(())
    })
}
