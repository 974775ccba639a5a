//! What a HiMuon kernel is: specification, coefficients, variants and template text.
//!
//! A leaf of the project: pure data and mathematics, no dependency (`serde` is optional).
//! * [`KernelSpec`] is **what** the user asked for: everything that changes the numbers that come out.
//! * [`StepTable`] is the list of coefficients that a specification resolves to, in the exact `f32`
//!   bits that every backend uses.

pub mod coefficients;
pub mod sources;
pub mod spec;
mod text;

pub use coefficients::StepTable;
pub use sources::KernelSource;
pub use spec::{
    CoefficientSet, Criterion, Element, Field, Finite, KernelSpec, Measure, Mode, Operand,
    Otherwise, Power, Recurrence, RecurrenceName, Scope, SpecError, SpecFields, Storage, Tile,
};
pub use text::ParseError;
