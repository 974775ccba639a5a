//! Which entries the family has, and the launches that make a step.

use super::{PATCH_THREADS, Streamed, decides_by_gram, measured_by, quintic, turbo};
use crate::spec::{KernelSpec, Measure, Recurrence};

/// A kernel of the family. All take the same parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StreamedEntry {
    /// Fills the table of tiles: one block, once for a table of matrices.
    Layout,
    /// M into the workspace, and what its norm needs.
    Scan,
    /// Norms and criteria of each tile from sums of parts.
    Decide,
    /// X = M / ||M||.
    Normalise,
    /// A = X X^T.
    Gram,
    /// Row sums of |A|.
    RowSums,
    /// Rows of X divided by the roots of these sums.
    RescaleRows,
    /// B = b A + c A^2.
    Square,
    /// A product with X.
    Multiply,
    /// <M, O> and ||O||^2.
    Measure,
    /// Momentum, and weight or map; reports and counts.
    Finish,
    /// Factor of each matrix.
    Norm,
    /// Weights, of powers above 0.
    Update,
}

/// What the blocks of a launch share out among themselves. Any number of blocks is right; one for each item is the
/// most that have work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StreamedItems {
    /// One block.
    One,
    /// Tiles of the sequence.
    Tiles,
    /// [`super::StreamedTile::patches`] of all tiles.
    Patches,
    /// [`super::StreamedTile::triangle`] of all tiles.
    Triangle,
    /// [`super::StreamedTile::blocks`] of all tiles.
    Blocks,
    /// Matrices.
    Matrices,
}

/// One launch of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamedLaunch {
    /// The kernel.
    pub entry: StreamedEntry,
    /// Parameter `index`: the step of the recurrence.
    pub index: u32,
    /// Parameter `turn`: the product of the step, or the decision.
    pub turn: u32,
}

const DECIDE_NORM: u32 = 0;
const DECIDE_GRAM: u32 = 1;
const DECIDE_MAPS: u32 = 2;

impl StreamedEntry {
    /// Name in PTX and cubin.
    pub const fn name(self) -> &'static str {
        match self {
            StreamedEntry::Layout => "himuon_layout",
            StreamedEntry::Scan => "himuon_scan",
            StreamedEntry::Decide => "himuon_decide",
            StreamedEntry::Normalise => "himuon_normalise",
            StreamedEntry::Gram => "himuon_gram",
            StreamedEntry::RowSums => "himuon_row_sums",
            StreamedEntry::RescaleRows => "himuon_rescale_rows",
            StreamedEntry::Square => "himuon_square",
            StreamedEntry::Multiply => "himuon_multiply",
            StreamedEntry::Measure => "himuon_measure",
            StreamedEntry::Finish => "himuon_finish",
            StreamedEntry::Norm => "himuon_norm",
            StreamedEntry::Update => "himuon_update",
        }
    }

    /// What it does.
    pub const fn purpose(self) -> &'static str {
        match self {
            StreamedEntry::Layout => {
                "fills the table of tiles; launched when matrices or the range of tiles have changed"
            }
            StreamedEntry::Scan => "M into the workspace, and the parts of its norm",
            StreamedEntry::Decide => {
                "turn 0: the norm of each tile; 1: what its first Gram matrix decides; 2: what its map decides"
            }
            StreamedEntry::Normalise => "X = M / ||M||, and the operands of the first products",
            StreamedEntry::Gram => "A = X X^T",
            StreamedEntry::RowSums => "the sums of each row of |A|",
            StreamedEntry::RescaleRows => "rows of X divided by the roots of these sums",
            StreamedEntry::Square => "B = b A + c A^2",
            StreamedEntry::Multiply => {
                "the product with X that ends step `index`, or product `turn` of the coupled form"
            }
            StreamedEntry::Measure => "the parts of <M, O> and ||O||^2",
            StreamedEntry::Finish => {
                "momentum, and weight or (power > 0) map; reports and counts each tile once"
            }
            StreamedEntry::Norm => {
                "power > 0, with first_tile = 0 and all tiles, when all have been reported: each matrix's factor"
            }
            StreamedEntry::Update => "power > 0: weights are updated",
        }
    }

    /// What its blocks share out.
    pub const fn items(self) -> StreamedItems {
        match self {
            StreamedEntry::Layout => StreamedItems::One,
            StreamedEntry::Decide => StreamedItems::Tiles,
            StreamedEntry::Gram | StreamedEntry::Square => StreamedItems::Triangle,
            StreamedEntry::Multiply => StreamedItems::Blocks,
            StreamedEntry::Norm => StreamedItems::Matrices,
            _ => StreamedItems::Patches,
        }
    }

    /// Whether it computes a product, in dynamic shared memory.
    pub const fn is_product(self) -> bool {
        matches!(
            self,
            StreamedEntry::Gram | StreamedEntry::Square | StreamedEntry::Multiply
        )
    }

    /// Threads of a block.
    pub const fn threads(self, settings: &Streamed) -> u32 {
        if self.is_product() {
            settings.threads()
        } else {
            PATCH_THREADS
        }
    }
}

impl Streamed {
    /// The kernels of `spec`, [`StreamedEntry::Layout`] first, then in the order of a step.
    pub fn entries(&self, spec: &KernelSpec) -> Vec<StreamedEntry> {
        let mut entries = vec![StreamedEntry::Layout];
        for launch in self
            .map_launches(spec, true)
            .into_iter()
            .chain(self.update_launches(spec))
        {
            if !entries.contains(&launch.entry) {
                entries.push(launch.entry);
            }
        }
        entries
    }

    /// The launches of a step over a range of tiles, in order; with power 0 that is the whole step. `reports`:
    /// whether the report of each tile is to hold <X, O> and ||O||^2, which costs one more pass. With power above 0
    /// the weights wait for [`Streamed::update_launches`].
    ///
    /// The same launches without groups map the gradient into the weight and do nothing else.
    pub fn map_launches(&self, spec: &KernelSpec, reports: bool) -> Vec<StreamedLaunch> {
        let mut launches = Vec::new();
        let mut add = |entry, index, turn| launches.push(StreamedLaunch { entry, index, turn });
        add(StreamedEntry::Scan, 0, 0);
        add(StreamedEntry::Decide, 0, DECIDE_NORM);
        add(StreamedEntry::Normalise, 0, 0);
        if turbo(spec) {
            add(StreamedEntry::Gram, 0, 0);
            if decides_by_gram(spec) {
                add(StreamedEntry::Decide, 0, DECIDE_GRAM);
            }
            add(StreamedEntry::RowSums, 0, 0);
            add(StreamedEntry::RescaleRows, 0, 0);
        }
        for step in 0..spec.steps {
            add(StreamedEntry::Gram, step, 0);
            if step == 0 && decides_by_gram(spec) && !turbo(spec) {
                add(StreamedEntry::Decide, 0, DECIDE_GRAM);
            }
            if quintic(spec) {
                add(StreamedEntry::Square, step, 0);
            }
            for turn in 0..products(spec, step) {
                add(StreamedEntry::Multiply, step, turn);
            }
        }
        let measured =
            reports || spec.power.numerator() > 0 || measured_by(spec, Measure::NuclearRank);
        if measured {
            add(StreamedEntry::Measure, 0, 0);
            add(StreamedEntry::Decide, 0, DECIDE_MAPS);
        }
        add(StreamedEntry::Finish, 0, 0);
        launches
    }

    /// The launches that follow when all tiles have been mapped: none with power 0. The factors of all matrices
    /// together, then the weights of a range of tiles.
    pub fn update_launches(&self, spec: &KernelSpec) -> Vec<StreamedLaunch> {
        let entries: &[StreamedEntry] = if spec.power.numerator() > 0 {
            &[StreamedEntry::Norm, StreamedEntry::Update]
        } else {
            &[]
        };
        let launch = |entry: &StreamedEntry| StreamedLaunch {
            entry: *entry,
            index: 0,
            turn: 0,
        };
        entries.iter().map(launch).collect()
    }
}

/// Products with X, Y or Z in a step.
fn products(spec: &KernelSpec, step: u32) -> u32 {
    if spec.recurrence != Recurrence::Coupled {
        return 1;
    }
    // p = 1 - n/m; the last step needs no Y.
    let (m, numerator) = (spec.power.denominator(), spec.power.numerator());
    let n = m - numerator;
    if step + 1 < spec.steps { n + m } else { n }
}
