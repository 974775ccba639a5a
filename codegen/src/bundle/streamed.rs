//! Entries, sequences and workspace of the streamed family.

use super::entries::{
    COUNTERS, MATRICES_WRITTEN, MATRIX_COUNT, RANGE, REPORTS_WANTED, count, optional, placed, table,
};
use super::manifest::{Access, Count, Entry, Grid, Launch, Parameter, Sequence, TileWorkspace};
use himuon_templates::KernelSpec;
use himuon_templates::variant::{Streamed, StreamedEntry, StreamedItems, StreamedLaunch};

const GROUPS: Parameter = optional(table(
    "groups",
    "Group",
    Access::Read,
    "the parameter groups; null: the map alone, of the gradient into the weight",
));
const TILE_RANGE: [Parameter; 2] = [
    count(
        "first_tile",
        "tiles",
        "the first tile of the range that the launch works on",
    ),
    count("tile_count", "tiles", "tiles of the range"),
];
const TILES: Parameter = table(
    "tiles",
    "StreamedTile",
    Access::ReadWrite,
    "one per tile of the range and one more, see tile_workspace",
);
const WORKSPACE: Parameter = table(
    "workspace",
    "bytes",
    Access::ReadWrite,
    "see tile_workspace; what it holds before a step does not matter",
);
const PLACE: [Parameter; 2] = [
    count(
        "index",
        "steps of the recurrence",
        "from the list of launches",
    ),
    count("turn", "", "from the list of launches"),
];

/// The kernels. All take the same parameters.
pub(super) fn entries(spec: &KernelSpec, settings: &Streamed) -> Vec<Entry> {
    let reports = Parameter {
        access: Some(Access::ReadWrite),
        optional: spec.power.numerator() == 0,
        ..REPORTS_WANTED
    };
    let parameters = [MATRICES_WRITTEN, MATRIX_COUNT, GROUPS, reports]
        .into_iter()
        .chain(TILE_RANGE)
        .chain([TILES, WORKSPACE])
        .chain(RANGE)
        .chain([COUNTERS])
        .chain(PLACE);
    let parameters: Vec<Parameter> = parameters.collect();
    settings
        .entries(spec)
        .into_iter()
        .map(|entry| Entry {
            name: entry.name(),
            purpose: entry.purpose(),
            grid: grid(entry),
            block: entry.threads(settings),
            dynamic_shared_bytes: if entry.is_product() {
                settings.shared_bytes(spec)
            } else {
                0
            },
            workspace: None,
            parameters: placed(parameters.iter()),
        })
        .collect()
}

fn grid(entry: StreamedEntry) -> Grid {
    let count = match entry.items() {
        StreamedItems::One => Count::One,
        StreamedItems::Tiles => Count::Tiles,
        StreamedItems::Patches => Count::Patches,
        StreamedItems::Triangle => Count::Triangle,
        StreamedItems::Blocks => Count::Blocks,
        StreamedItems::Matrices => Count::Matrices,
    };
    Grid {
        any_number: entry != StreamedEntry::Layout,
        ..Grid::of(count, 1)
    }
}

/// A step over all tiles is `step`; over one range after another, it is its launches up to `himuon_finish` for each
/// range, then, with power above 0, `himuon_norm` once and `himuon_update` for each range.
pub(super) fn sequences(spec: &KernelSpec, settings: &Streamed) -> Vec<Sequence> {
    let wanted = settings.map_launches(spec, true);
    let needed = settings.map_launches(spec, false);
    let launch = |launch: &StreamedLaunch| Launch {
        entry: launch.entry.name(),
        index: launch.index,
        turn: launch.turn,
        for_reports: !needed.contains(launch),
    };
    let map: Vec<Launch> = wanted.iter().map(launch).collect();
    let update = settings.update_launches(spec);
    let update = update.iter().map(|update| Launch::of(update.entry.name()));
    vec![
        Sequence {
            purpose: "layout",
            launches: vec![Launch::of(StreamedEntry::Layout.name())],
        },
        Sequence {
            purpose: "step",
            launches: map.iter().copied().chain(update).collect(),
        },
        Sequence {
            purpose: "map",
            launches: map,
        },
    ]
}

pub(super) fn workspace(spec: &KernelSpec, settings: &Streamed) -> TileWorkspace {
    let matrices = settings.matrices(spec);
    TileWorkspace {
        parameter: WORKSPACE.name,
        table_parameter: TILES.name,
        f32_matrices: matrices.masters,
        operand_matrices: matrices.operands,
        squares: matrices.grams,
        operand_bytes: matrices.operand_bytes,
        padded_to: Streamed::PADDING,
        row_factors: matrices.row_factors,
        alignment: Streamed::ALIGNMENT,
        patch: [Streamed::PATCH.0, Streamed::PATCH.1],
        block: settings.block,
    }
}
