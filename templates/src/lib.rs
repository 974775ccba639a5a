//! What a HiMuon kernel is: specification, coefficients, variants and template text.
//!
//! A leaf of the project: pure data and mathematics, no dependency (`serde` is optional; `files`, which every crate above
//! writes with, is too).
//! * [`KernelSpec`] is **what** the user asked for: everything that changes the numbers that come out.
//! * [`Variant`] is **how** it is computed: everything that an autotuner may vary, and nothing else.
//! * [`StepTable`] is the list of coefficients that a specification resolves to, in the exact `f32`
//!   bits that every backend uses.

pub mod coefficients;
#[cfg(feature = "files")]
pub mod files;
pub mod kernel_id;
pub mod sources;
pub mod spec;
pub mod target;
mod text;
pub mod variant;

pub use coefficients::StepTable;
pub use kernel_id::KernelId;
pub use sources::{CompiledKernel, KernelSource};
pub use spec::{
    Coarse, CoefficientSet, Criterion, Element, Field, Fine, Finite, KernelSpec, Measure, Mode,
    Operand, Otherwise, Power, Recurrence, RecurrenceName, Scope, SpecError, SpecFields, Storage,
    Tile,
};
pub use target::{Architecture, DeviceLimits};
pub use text::ParseError;
pub use variant::{Variant, VariantError};
