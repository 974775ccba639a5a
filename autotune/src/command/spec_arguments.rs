//! The arguments that make a specification.

use super::error::CommandError;
use clap::Args;
use himuon::KernelSpec;
use himuon::templates::{CoefficientSet, Element, Mode, Power, RecurrenceName, SpecFields, Tile};

/// What is computed. A field left out has the default that it has everywhere.
#[derive(Args, Clone, Debug)]
pub(super) struct SpecArguments {
    /// Tile: an edge (128), rows x columns (64x256) or full
    #[arg(long, value_name = "TILE")]
    pub(super) tile: Tile,
    /// Steps K of the recurrence [default: the coefficient set's own]
    #[arg(long, value_name = "K")]
    steps: Option<u32>,
    /// Coefficients: muon, cubic, quintic, polar-express, minimax(1e-3), you, turbo, cans or a list
    /// [(a,b,c),...] [default: muon]
    #[arg(long, value_name = "SET")]
    coefficients: Option<CoefficientSet>,
    /// Power p of U S^p V^T, as 1/2 or 0.5 [default: 0]
    #[arg(long, value_name = "P")]
    power: Option<Power>,
    /// Recurrence: newton-schulz, fitted, coupled, authors or identity [default: what goes with the power]
    #[arg(long, value_name = "NAME")]
    recurrence: Option<RecurrenceName>,
    /// Type of the numbers: f32, bf16 or f16
    #[arg(long, value_name = "TYPE")]
    pub(super) element: Option<Element>,
    /// Rounding points: accurate, or reference (the published code's) [default: accurate]
    #[arg(long, value_name = "MODE")]
    mode: Option<Mode>,
}

impl SpecArguments {
    /// The stated fields.
    pub(super) fn fields(&self) -> SpecFields {
        SpecFields {
            tile: Some(self.tile),
            steps: self.steps,
            coefficients: self.coefficients.clone(),
            power: self.power,
            recurrence: self.recurrence,
            element: self.element,
            mode: self.mode,
            ..SpecFields::default()
        }
    }

    /// The specification.
    pub(super) fn resolve(&self) -> Result<KernelSpec, CommandError> {
        Ok(self.fields().resolve()?)
    }
}
