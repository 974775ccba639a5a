//! The arguments that make a specification.

use super::error::CommandError;
use clap::Args;
use himuon::KernelSpec;
use himuon::templates::{
    Coarse, CoefficientSet, Element, Fine, Mode, Operand, Power, RecurrenceName, SpecFields, Tile,
};

/// What is computed. A field left out has the default that it has everywhere.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Specification")]
pub(super) struct SpecArguments {
    /// Tile: an edge (128), rows x columns (64x256) or full
    #[arg(long, value_name = "TILE")]
    tile: Option<Tile>,
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
    element: Option<Element>,
    /// Keep f32 master weights beside bf16 ones: 16 bits an element of state
    #[arg(long)]
    master_weights: bool,
    /// Rounding points: accurate, or reference (the published code's) [default: accurate]
    #[arg(long, value_name = "MODE")]
    mode: Option<Mode>,
    /// Rank of a coarse part that couples the tiles; 0: tiles alone [default: 0]
    #[arg(long, value_name = "RANK")]
    coarse: Option<u32>,
    /// What the tiles add to a coarse part: projected, fused or none [default: fused]
    #[arg(long, value_name = "FORM")]
    fine: Option<Fine>,
    /// The specification as text instead, with keys that have no option too: 'tile=128 operand=bf16 ...' (see
    /// docs/specifications.md). Keys that are left out have their defaults
    #[arg(
        long,
        value_name = "TEXT",
        conflicts_with_all = ["tile", "steps", "coefficients", "power", "recurrence", "element", "master_weights", "mode", "coarse", "fine"]
    )]
    spec: Option<KernelSpec>,
}

impl SpecArguments {
    /// The specification.
    pub(super) fn resolve(&self) -> Result<KernelSpec, CommandError> {
        match &self.spec {
            Some(spec) => Ok(spec.clone()),
            None => {
                self.require_tile()?;
                Ok(self.fields().resolve()?)
            }
        }
    }

    fn require_tile(&self) -> Result<(), CommandError> {
        match self.tile {
            Some(_) => Ok(()),
            None => Err(CommandError::Request(
                "no tile: state --tile as an edge (128), rows x columns (64x256) or full, or a whole --spec"
                    .to_owned(),
            )),
        }
    }

    /// Whether any part of a specification was stated.
    pub(super) fn is_stated(&self) -> bool {
        self.spec.is_some() || self.fields() != SpecFields::default()
    }

    /// Whether a coarse part was asked for.
    pub(super) fn has_coarse(&self) -> bool {
        match &self.spec {
            Some(spec) => spec.coarse != Coarse::Off,
            None => self.coarse.is_some_and(|rank| rank > 0),
        }
    }

    /// The specification as the CPU computes it: it multiplies in f32 whatever the type of the numbers.
    pub(super) fn resolve_for_cpu(&self) -> Result<KernelSpec, CommandError> {
        let spec = match &self.spec {
            Some(spec) => KernelSpec {
                operand: Operand::F32,
                ..spec.clone()
            },
            None => {
                self.require_tile()?;
                SpecFields {
                    operand: Some(Operand::F32),
                    ..self.fields()
                }
                .resolve()?
            }
        };
        spec.check()?;
        Ok(spec)
    }

    /// What a GPU multiplies.
    pub(super) fn operand(&self) -> Result<Operand, CommandError> {
        let fields = SpecFields {
            tile: self.tile.or(Some(Tile::square(16))),
            ..self.fields()
        };
        match &self.spec {
            Some(spec) => Ok(spec.operand),
            None => Ok(fields.resolve()?.operand),
        }
    }

    /// The specification as the CPU computes it, of another tile than the stated one.
    pub(super) fn resolve_for_cpu_with(&self, tile: Tile) -> Result<KernelSpec, CommandError> {
        let fields = SpecFields {
            tile: Some(tile),
            operand: Some(Operand::F32),
            ..self.fields()
        };
        match &self.spec {
            Some(spec) => Ok(KernelSpec {
                tile,
                operand: Operand::F32,
                ..spec.clone()
            }),
            None => Ok(fields.resolve()?),
        }
    }

    /// The stated type of the numbers.
    pub(super) fn element(&self) -> Option<Element> {
        match &self.spec {
            Some(spec) => Some(spec.storage.weight),
            None => self.element,
        }
    }

    fn fields(&self) -> SpecFields {
        SpecFields {
            tile: self.tile,
            steps: self.steps,
            coefficients: self.coefficients.clone(),
            power: self.power,
            recurrence: self.recurrence,
            element: self.element,
            master_weights: self.master_weights.then_some(true),
            mode: self.mode,
            coarse: self.coarse,
            fine: self.fine,
            ..SpecFields::default()
        }
    }
}
