//! What a template is given: one struct per family, whose fields are the template's variables.

use super::literal::float;
use himuon_templates::variant::Plain;
use himuon_templates::{
    Criterion, Element, KernelSpec, Measure, Mode, Operand, Otherwise, SpecError, StepTable, Tile,
};
use serde::Serialize;

/// The variables of `plain.cu.tera`. Numbers that are floats in the kernel are finished literals.
#[derive(Debug, Serialize)]
pub(super) struct PlainContext {
    pub(super) banner: String,
    pub(super) weight: &'static str,
    pub(super) momentum: &'static str,
    pub(super) operand: &'static str,
    pub(super) reference: bool,
    pub(super) threads: u32,
    /// Edge of the tile; the largest `u32` for the whole matrix.
    pub(super) tile_rows: String,
    pub(super) tile_columns: String,
    /// `odd`, `turbo`, `fitted`, `coupled`, `authors` or `identity`.
    pub(super) recurrence: &'static str,
    /// The coefficients of each step, in the order of the [`StepTable`].
    pub(super) steps: Vec<Vec<String>>,
    pub(super) coupled_m: u32,
    pub(super) coupled_n: u32,
    pub(super) power: String,
    /// Whether one norm of the whole matrix sets the scale (power > 0): three launches.
    pub(super) matrix_normalised: bool,
    /// The end of a name in `criterion.cuh`.
    pub(super) criterion: &'static str,
    pub(super) threshold: String,
    /// The end of a name in `criterion.cuh`.
    pub(super) otherwise: &'static str,
}

impl PlainContext {
    pub(super) fn new(spec: &KernelSpec, plain: &Plain, banner: String) -> Result<Self, SpecError> {
        let table = spec.step_table()?;
        let (tile_rows, tile_columns) = match spec.tile {
            Tile::Full => (u32::MAX, u32::MAX),
            Tile::Sized { rows, columns } => (rows, columns),
        };
        let (coupled_m, coupled_n) = match table {
            StepTable::Coupled { m, n, .. } => (m, n),
            _ => (0, 0),
        };
        let (criterion, threshold, otherwise) = criterion(spec.criterion);
        Ok(PlainContext {
            banner,
            weight: element(spec.storage.weight),
            momentum: element(spec.storage.momentum),
            operand: operand(spec.operand),
            reference: spec.mode == Mode::Reference,
            threads: plain.warps * 32,
            tile_rows: format!("{tile_rows}u"),
            tile_columns: format!("{tile_columns}u"),
            recurrence: recurrence(&table),
            steps: literals(&table),
            coupled_m,
            coupled_n,
            power: float(spec.power.to_f64() as f32),
            matrix_normalised: spec.power.numerator() > 0,
            criterion,
            threshold,
            otherwise,
        })
    }
}

/// The struct of `element.cuh`.
pub(super) fn element(element: Element) -> &'static str {
    match element {
        Element::F32 => "F32",
        Element::Bf16 => "Bf16",
        Element::F16 => "F16",
    }
}

pub(super) fn operand(operand: Operand) -> &'static str {
    match operand {
        Operand::F32 => "F32",
        Operand::Tf32 => "Tf32",
        Operand::Bf16 => "Bf16",
        Operand::F16 => "F16",
    }
}

fn recurrence(table: &StepTable) -> &'static str {
    match table {
        StepTable::Odd(_) => "odd",
        StepTable::Turbo(_) => "turbo",
        StepTable::Fitted(_) => "fitted",
        StepTable::Coupled { .. } => "coupled",
        StepTable::Authors { .. } => "authors",
        StepTable::Identity => "identity",
    }
}

fn literals(table: &StepTable) -> Vec<Vec<String>> {
    fn all<const N: usize>(list: &[[f32; N]]) -> Vec<Vec<String>> {
        list.iter()
            .map(|step| step.iter().copied().map(float).collect())
            .collect()
    }
    match table {
        StepTable::Odd(list) | StepTable::Turbo(list) => all(list),
        StepTable::Fitted(list) => all(list),
        StepTable::Coupled { steps, .. } => all(steps),
        StepTable::Authors { steps, damping } => {
            vec![vec![float(*damping)]; *steps as usize]
        }
        StepTable::Identity => Vec::new(),
    }
}

/// Measure and replacement, as the ends of their names in `criterion.cuh`, and the threshold between them.
pub(super) fn criterion(criterion: Criterion) -> (&'static str, String, &'static str) {
    let Criterion::Tested {
        measure,
        threshold,
        otherwise,
        ..
    } = criterion
    else {
        return ("ALWAYS", float(0.0), "MOMENTUM");
    };
    let measure = match measure {
        Measure::FroNorm => "NORM",
        Measure::EffectiveRank => "EFFECTIVE_RANK",
        Measure::NuclearRank => "NUCLEAR_RANK",
        // Decided on the host: no variant fits, so that nothing is rendered.
        Measure::MinGap => "ALWAYS",
    };
    let otherwise = match otherwise {
        Otherwise::Momentum => "MOMENTUM",
        Otherwise::RmsMatched => "RMS_MATCHED",
    };
    (measure, float(threshold.get()), otherwise)
}
