//! Why a matrix cannot be diagnosed.

use himuon_templates::spec::SpecError;

use crate::cpu::CpuError;

/// Why a matrix cannot be diagnosed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiagnoseError {
    /// No elements.
    #[error("it is empty ({rows} x {columns})")]
    Empty {
        /// Rows.
        rows: usize,
        /// Columns.
        columns: usize,
    },
    /// Fewer or more numbers than the shape says.
    #[error("{found} numbers are no {rows} x {columns} matrix")]
    Length {
        /// Rows.
        rows: usize,
        /// Columns.
        columns: usize,
        /// Numbers found.
        found: usize,
    },
    /// NaN or infinity.
    #[error(
        "{count} elements are NaN or infinite, the first in row {row}, column {column}; its spectrum is not defined"
    )]
    NonFinite {
        /// How many.
        count: usize,
        /// Row of the first.
        row: usize,
        /// Column of the first.
        column: usize,
    },
    /// Nothing but zeros.
    #[error("all of its {rows} x {columns} elements are zero: there is no direction to compare")]
    Zero {
        /// Rows.
        rows: usize,
        /// Columns.
        columns: usize,
    },
    /// No tile or no power.
    #[error("no tile or no power was asked for; name at least one of each")]
    NothingAsked,
    /// A tile, power or coefficient set that does not go together.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The kernel refused.
    #[error(transparent)]
    Kernel(CpuError),
    /// A share or a cosine that is none.
    #[error("{option} is {found}, expected a number from 0 to 1")]
    Share {
        /// The option.
        option: &'static str,
        /// What was given.
        found: f64,
    },
    /// Threads could not be started.
    #[error("threads cannot be started: {0}")]
    Threads(String),
}

impl From<CpuError> for DiagnoseError {
    fn from(error: CpuError) -> Self {
        match error {
            CpuError::Spec(error) => DiagnoseError::Spec(error),
            other => DiagnoseError::Kernel(other),
        }
    }
}
