//! What `streamed.cu.tera` is given.

use super::context::{criterion, element, operand};
use super::literal::float;
use super::resident::Iteration;
use himuon_templates::variant::{Streamed, StreamedEntry, effective_operand};
use himuon_templates::{KernelSpec, Mode, SpecError, StepTable, Tile};
use serde::Serialize;

/// The variables of `streamed.cu.tera`. Numbers that are floats in the kernel are finished literals.
#[derive(Debug, Serialize)]
pub(super) struct StreamedContext {
    pub(super) banner: String,
    pub(super) weight: &'static str,
    pub(super) momentum: &'static str,
    pub(super) operand: &'static str,
    pub(super) reference: bool,
    pub(super) tile_rows: u32,
    pub(super) tile_columns: u32,
    /// The end of a name in `criterion.cuh`.
    pub(super) recurrence: &'static str,
    pub(super) step_comment: &'static str,
    /// The coefficients of each step.
    pub(super) steps: Vec<Vec<String>>,
    pub(super) coupled_m: u32,
    pub(super) coupled_n: u32,
    /// X is divided by ||X X^T||_F^(1/2) after the first Gram matrix.
    pub(super) rescale: bool,
    pub(super) power: String,
    /// One norm of the whole matrix sets the scale (power > 0).
    pub(super) matrix_normalised: bool,
    /// Some c is not zero: three products a step.
    pub(super) quintic: bool,
    pub(super) turbo: bool,
    /// The end of a name in `criterion.cuh`.
    pub(super) criterion: &'static str,
    pub(super) threshold: String,
    /// The end of a name in `criterion.cuh`.
    pub(super) otherwise: &'static str,
    pub(super) block: u32,
    pub(super) warps: u32,
    pub(super) stages: u32,
    pub(super) masters: u32,
    pub(super) operands: u32,
    pub(super) grams: u32,
    pub(super) separate: bool,
    /// The struct of `element.cuh` in which X is exact.
    pub(super) exact: &'static str,
    pub(super) shared_bytes: u32,
    pub(super) entries: Vec<EntryContext>,
}

/// One kernel of the text.
#[derive(Debug, Serialize)]
pub(super) struct EntryContext {
    name: &'static str,
    purpose: &'static str,
    threads: u32,
    /// It works in dynamic shared memory.
    shared: bool,
    /// It does nothing outside its range of training steps.
    stepped: bool,
    /// The function that it calls.
    body: &'static str,
}

impl EntryContext {
    fn new(entry: StreamedEntry, settings: &Streamed) -> EntryContext {
        EntryContext {
            name: entry.name(),
            purpose: entry.purpose(),
            threads: entry.threads(settings),
            shared: entry.is_product(),
            stepped: entry != StreamedEntry::Layout,
            body: body(entry),
        }
    }
}

fn body(entry: StreamedEntry) -> &'static str {
    match entry {
        StreamedEntry::Layout => "lay_out",
        StreamedEntry::Scan => "scan",
        StreamedEntry::Decide => "decide",
        StreamedEntry::Normalise => "normalise",
        StreamedEntry::Gram => "gram_launch",
        StreamedEntry::RowSums => "row_sums",
        StreamedEntry::RescaleRows => "rescale_rows",
        StreamedEntry::Square => "square_launch",
        StreamedEntry::Multiply => "multiply_launch",
        StreamedEntry::Measure => "measure",
        StreamedEntry::Finish => "finish",
        StreamedEntry::Norm => "matrix_factors",
        StreamedEntry::Update => "update",
    }
}

impl StreamedContext {
    pub(super) fn new(
        spec: &KernelSpec,
        settings: &Streamed,
        banner: String,
    ) -> Result<Self, SpecError> {
        let table = spec.step_table()?;
        let iteration = Iteration::unfolded(&table);
        let (tile_rows, tile_columns) = match spec.tile {
            Tile::Full => (u32::MAX, u32::MAX),
            Tile::Sized { rows, columns } => (rows, columns),
        };
        let (criterion, threshold, otherwise) = criterion(spec.criterion);
        let matrices = settings.matrices(spec);
        let reference = spec.mode == Mode::Reference;
        Ok(StreamedContext {
            banner,
            weight: element(spec.storage.weight),
            momentum: element(spec.storage.momentum),
            operand: operand(effective_operand(spec)),
            reference,
            tile_rows,
            tile_columns,
            quintic: iteration.quintic,
            turbo: matches!(table, StepTable::Turbo(_)),
            recurrence: iteration.name,
            step_comment: iteration.comment,
            steps: iteration.steps,
            coupled_m: iteration.coupled.0,
            coupled_n: iteration.coupled.1,
            rescale: matches!(table, StepTable::Fitted(_)),
            power: float(spec.power.to_f64() as f32),
            matrix_normalised: spec.power.numerator() > 0,
            criterion,
            threshold,
            otherwise,
            block: settings.block,
            warps: settings.warps,
            stages: settings.stages,
            masters: matrices.masters,
            operands: matrices.operands,
            grams: matrices.grams,
            separate: matrices.separate,
            exact: if reference { "Bf16" } else { "F32" },
            shared_bytes: settings.shared_bytes(spec),
            entries: settings
                .entries(spec)
                .into_iter()
                .map(|entry| EntryContext::new(entry, settings))
                .collect(),
        })
    }
}
