//! Everything about a launch that can be wrong, checked before anything is written.

use super::error::CpuError;
use crate::coarse::coarse_rank;
use crate::launch::{GroupScalars, MatrixStep, decays_below_zero};
use himuon_templates::{Element, KernelSpec};

/// One tensor of a matrix.
struct Tensor {
    name: &'static str,
    element: Element,
    length: usize,
    leading: usize,
}

/// Checks matrix number `matrix`, whose tiles number `tiles`.
pub(super) fn matrix_step(
    spec: &KernelSpec,
    matrix: usize,
    step: &MatrixStep<'_>,
    tiles: impl FnOnce() -> usize,
) -> Result<(), CpuError> {
    let storage = spec.storage;
    let (rows, columns) = (step.rows, step.columns);
    size(matrix, rows, columns)?;
    let tensors = [
        (
            storage.weight,
            Tensor {
                name: "gradient",
                element: step.gradient.element(),
                length: step.gradient.len(),
                leading: step.gradient_leading,
            },
        ),
        (
            storage.momentum,
            Tensor {
                name: "momentum",
                element: step.momentum.element(),
                length: step.momentum.len(),
                leading: columns,
            },
        ),
        (
            storage.weight,
            Tensor {
                name: "weight",
                element: step.weight.element(),
                length: step.weight.len(),
                leading: step.weight_leading,
            },
        ),
    ];
    for (expected, found) in &tensors {
        if found.element != *expected {
            return Err(CpuError::Element {
                matrix,
                tensor: found.name,
                found: found.element,
                expected: *expected,
            });
        }
        tensor(matrix, rows, columns, found)?;
    }
    scalars(matrix, &step.scalars)?;
    basis(spec, matrix, step)?;
    let remainders = step.remainder.as_ref().map_or(0, |kept| kept.len());
    let needed = usize::from(storage.master_weights) * rows * columns;
    exactly(
        matrix,
        "remainder of the master weights",
        remainders,
        needed,
    )?;
    if let Some(row) = &step.row_normalisation {
        exactly(matrix, "row second moment", row.second_moment.len(), rows)?;
        let in_range = (0.0..=1.0).contains(&row.beta2);
        scalar(matrix, "beta2", row.beta2, in_range, "0 to 1 is accepted")?;
        let positive = row.epsilon.is_finite() && row.epsilon >= 0.0;
        scalar(
            matrix,
            "epsilon",
            row.epsilon,
            positive,
            "a finite number of at least 0 is accepted",
        )?;
    }
    if let Some(diagnostics) = &step.diagnostics {
        exactly(matrix, "diagnostics", diagnostics.len(), tiles())?;
    }
    Ok(())
}

/// Checks that a coupled matrix brings a basis with room for its rank.
fn basis(spec: &KernelSpec, matrix: usize, step: &MatrixStep<'_>) -> Result<(), CpuError> {
    let rank = coarse_rank(spec, step.rows, step.columns);
    if rank == 0 {
        return Ok(());
    }
    let tensor = "coarse basis";
    let Some(basis) = &step.coarse else {
        return exactly(matrix, tensor, 0, step.columns * rank);
    };
    if basis.capacity < rank {
        return Err(CpuError::Leading {
            matrix,
            tensor,
            found: basis.capacity,
            columns: rank,
        });
    }
    // What is no length of a tensor is longer than any.
    let needed = step.columns.checked_mul(basis.capacity);
    exactly(
        matrix,
        tensor,
        basis.values.len(),
        needed.unwrap_or(usize::MAX),
    )
}

/// Checks that a weight with a master is a bf16 one.
pub(super) fn bf16_master(matrix: usize, found: Element) -> Result<(), CpuError> {
    if found == Element::Bf16 {
        return Ok(());
    }
    Err(CpuError::Element {
        matrix,
        tensor: "weight with a master",
        found,
        expected: Element::Bf16,
    })
}

/// Checks that a matrix has elements, and no more than an address can tell apart.
pub(super) fn size(matrix: usize, rows: usize, columns: usize) -> Result<(), CpuError> {
    let fits = rows
        .checked_mul(columns)
        .and_then(|elements| elements.checked_mul(64))
        .is_some_and(|bytes| bytes <= isize::MAX as usize);
    if rows == 0 || columns == 0 || !fits {
        return Err(CpuError::Size {
            matrix,
            rows,
            columns,
        });
    }
    Ok(())
}

fn tensor(matrix: usize, rows: usize, columns: usize, found: &Tensor) -> Result<(), CpuError> {
    if found.leading < columns {
        return Err(CpuError::Leading {
            matrix,
            tensor: found.name,
            found: found.leading,
            columns,
        });
    }
    let needed = (rows - 1)
        .checked_mul(found.leading)
        .and_then(|start| start.checked_add(columns))
        .unwrap_or(usize::MAX);
    length(matrix, found.name, found.length, needed)
}

/// Checks that there are at least `needed` numbers.
pub(super) fn length(
    matrix: usize,
    tensor: &'static str,
    found: usize,
    needed: usize,
) -> Result<(), CpuError> {
    if found >= needed {
        return Ok(());
    }
    Err(CpuError::Length {
        matrix,
        tensor,
        found,
        needed,
    })
}

/// Checks that there are `needed` numbers, no more and no less.
pub(super) fn exactly(
    matrix: usize,
    tensor: &'static str,
    found: usize,
    needed: usize,
) -> Result<(), CpuError> {
    if found == needed {
        return Ok(());
    }
    Err(CpuError::Length {
        matrix,
        tensor,
        found,
        needed,
    })
}

fn scalars(matrix: usize, group: &GroupScalars) -> Result<(), CpuError> {
    not_negative(matrix, "learning rate", group.learning_rate)?;
    not_negative(matrix, "weight decay", group.weight_decay)?;
    let finite = [
        ("mu", group.mu),
        ("c", group.c),
        ("alpha", group.alpha),
        ("beta", group.beta),
        ("scale factor", group.scale_factor),
        ("coarse factor", group.coarse_factor),
        ("captured decay", group.captured_decay),
    ];
    for (name, value) in finite {
        scalar(
            matrix,
            name,
            value,
            value.is_finite(),
            "a finite number is accepted",
        )?;
    }
    decay(matrix, group.learning_rate, group.weight_decay)
}

/// Checks that lr wd is at most 1.
pub(super) fn decay(matrix: usize, learning_rate: f32, weight_decay: f32) -> Result<(), CpuError> {
    if decays_below_zero(learning_rate, weight_decay) {
        return Err(CpuError::Decay {
            matrix,
            learning_rate,
            weight_decay,
        });
    }
    Ok(())
}

/// Checks that a scalar is finite and not negative.
pub(super) fn not_negative(matrix: usize, name: &'static str, value: f32) -> Result<(), CpuError> {
    let accepted = value.is_finite() && value >= 0.0;
    scalar(
        matrix,
        name,
        value,
        accepted,
        "a finite number of at least 0 is accepted",
    )
}

/// Reports a scalar that is not accepted.
pub(super) fn scalar(
    matrix: usize,
    name: &'static str,
    found: f32,
    is_accepted: bool,
    accepted: &'static str,
) -> Result<(), CpuError> {
    if is_accepted {
        return Ok(());
    }
    Err(CpuError::Scalar {
        matrix,
        scalar: name,
        found,
        accepted,
    })
}
