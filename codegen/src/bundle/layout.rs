//! Entries, parameters and tables of each kernel family, as the templates declare them.

use super::manifest::{Entry, Field, Parameter, Table};
use himuon_templates::{KernelSpec, Tile, Variant};

const fn pointer(name: &'static str, meaning: &'static str) -> Parameter {
    Parameter {
        name,
        kind: "pointer",
        meaning,
    }
}

const fn count(name: &'static str, meaning: &'static str) -> Parameter {
    Parameter {
        name,
        kind: "u32",
        meaning,
    }
}

const fn field(
    name: &'static str,
    offset: u32,
    kind: &'static str,
    meaning: &'static str,
) -> Field {
    Field {
        name,
        offset,
        kind,
        meaning,
    }
}

const MATRICES: Parameter = pointer("matrices", "table of Matrix, in device memory");
const MATRIX_COUNT: Parameter = count("matrix_count", "entries of matrices");
const GROUPS: Parameter = pointer("groups", "table of Group, in device memory");
const REPORTS: Parameter = pointer(
    "reports",
    "table of TileReport, one per tile, written; null where it is not wanted and the power is 0",
);
const TILE_COUNT: Parameter = count("tile_count", "tiles of all matrices");
const STEP: Parameter = pointer(
    "step",
    "one u32 in device memory: the training step; null: no restriction",
);
const FIRST_STEP: Parameter = count("first_step", "the launch does nothing before this step");
const END_STEP: Parameter = count("end_step", "the launch does nothing from this step on");
const COUNTERS: Parameter = pointer(
    "counters",
    "two u32, added to: tiles left alone because they held a NaN or an infinity, and tiles that the criterion \
     left unorthogonalised; null: not wanted",
);
const WORKSPACE: Parameter = pointer(
    "workspace",
    "f32 numbers, workspace_of_block for each block",
);
const WORKSPACE_OF_BLOCK: Parameter = Parameter {
    name: "workspace_of_block",
    kind: "u64",
    meaning: "f32 numbers of a block's workspace, at least 4 h w + 2 min(h, w)^2 for the largest tile h x w",
};

/// The tables in device memory.
pub(super) const TABLES: [Table; 3] = [
    Table {
        name: "Matrix",
        bytes: 64,
        fields: &[
            field(
                "gradient",
                0,
                "pointer",
                "rows x columns in the weight's type",
            ),
            field(
                "momentum",
                8,
                "pointer",
                "rows x columns, contiguous, in the momentum's type",
            ),
            field(
                "weight",
                16,
                "pointer",
                "rows x columns in the weight's type",
            ),
            field(
                "mapped",
                24,
                "pointer",
                "power > 0: rows x columns of f32, contiguous, kept between the launches; else unused",
            ),
            field("rows", 32, "u32", "rows of the matrix, at least 1"),
            field("columns", 36, "u32", "columns of the matrix, at least 1"),
            field(
                "gradient_leading",
                40,
                "u32",
                "numbers from one row of the gradient to the next",
            ),
            field(
                "weight_leading",
                44,
                "u32",
                "numbers from one row of the weight to the next",
            ),
            field("first_tile", 48, "u32", "number of the matrix's first tile"),
            field("group", 52, "u32", "index in the table of groups"),
            field("factor", 56, "f32", "power > 0: written by himuon_norm"),
            field("largest", 60, "f32", "power > 0: written by himuon_norm"),
        ],
    },
    Table {
        name: "Group",
        bytes: 32,
        fields: &[
            field(
                "learning_rate",
                0,
                "f32",
                "lr of W <- (1 - lr wd) W - lr scale(map(m))",
            ),
            field("weight_decay", 4, "f32", "wd"),
            field("mu", 8, "f32", "buf <- mu buf + c g"),
            field("c", 12, "f32", "buf <- mu buf + c g"),
            field("alpha", 16, "f32", "m <- alpha g + beta buf"),
            field("beta", 20, "f32", "m <- alpha g + beta buf"),
            field("scale_factor", 24, "f32", "factor of the scale rules"),
            field(
                "scale_rule",
                28,
                "u32",
                "0 factor sqrt(max(h, w)) of the tile as cut; 1 the same of a whole tile; 2 sqrt(max(1, rows / \
                 columns)); 3 factor sqrt(max(rows, columns)); 4 one",
            ),
        ],
    },
    Table {
        name: "TileReport",
        bytes: 16,
        fields: &[
            field(
                "norm",
                0,
                "f32",
                "Frobenius norm of the tile of M before the map",
            ),
            field(
                "inner_product",
                4,
                "f32",
                "<X, O>, X = M / norm, O the map; 0 where the map was skipped",
            ),
            field(
                "mapped_norm_squared",
                8,
                "f32",
                "||O||_F^2; 0 where the map was skipped",
            ),
            field(
                "flags",
                12,
                "u32",
                "bit 0: not finite, left alone; bit 1: left unorthogonalised",
            ),
        ],
    },
];

/// Rows and columns of a whole tile.
pub(super) fn tile(spec: &KernelSpec) -> (u32, u32) {
    match spec.tile {
        Tile::Full => (u32::MAX, u32::MAX),
        Tile::Sized { rows, columns } => (rows, columns),
    }
}

/// The kernels of a variant, in the order of a step.
pub(super) fn entries(spec: &KernelSpec, variant: &Variant) -> Vec<Entry> {
    let three_launches = spec.power.numerator() > 0;
    match variant {
        Variant::Plain(plain) => plain_entries(32 * plain.warps, three_launches),
        Variant::Resident(settings) => match settings.shape(spec) {
            Some(shape) => resident_entries(
                shape.threads,
                shape.tiles_per_block,
                shape.shared_bytes,
                three_launches,
            ),
            None => Vec::new(),
        },
    }
}

const STEP_PURPOSE: &str = "the whole optimizer step: momentum and weight are updated";
const FIRST_PURPOSE: &str =
    "first of three launches: momentum is updated, maps and reports are written";
const NORM_PURPOSE: &str = "second launch: each matrix's factor";
const UPDATE_PURPOSE: &str = "third launch: weights are updated";

fn plain_entries(block: u32, three_launches: bool) -> Vec<Entry> {
    let tables = [MATRICES, MATRIX_COUNT, GROUPS, REPORTS, TILE_COUNT];
    let entry = |name, purpose, workspace: &'static str| Entry {
        name,
        purpose,
        grid: "any number of blocks; tile_count of them use the device best".to_owned(),
        block,
        dynamic_shared_bytes: 0,
        workspace,
        parameters: tables.to_vec(),
    };
    let purpose = if three_launches {
        FIRST_PURPOSE
    } else {
        STEP_PURPOSE
    };
    let mut step = entry(
        "himuon_step",
        purpose,
        "4 workspace_of_block bytes for each block",
    );
    step.parameters.extend([WORKSPACE, WORKSPACE_OF_BLOCK]);
    let mut entries = vec![step];
    if three_launches {
        entries.push(entry("himuon_norm", NORM_PURPOSE, "none"));
        entries.push(entry("himuon_update", UPDATE_PURPOSE, "none"));
    }
    entries
}

fn resident_entries(
    block: u32,
    tiles_per_block: u32,
    dynamic_shared_bytes: u32,
    three_launches: bool,
) -> Vec<Entry> {
    let tiles = match tiles_per_block {
        1 => "tile_count".to_owned(),
        n => format!("ceil(tile_count / {n})"),
    };
    let tables = [MATRICES, MATRIX_COUNT, GROUPS, REPORTS, TILE_COUNT];
    let range = [STEP, FIRST_STEP, END_STEP];
    let entry = |name, purpose, grid: &str, shared, counters: bool| Entry {
        name,
        purpose,
        grid: grid.to_owned(),
        block,
        dynamic_shared_bytes: shared,
        workspace: "none",
        parameters: tables
            .iter()
            .chain(&range)
            .chain(counters.then_some(&COUNTERS))
            .copied()
            .collect(),
    };
    let purpose = if three_launches {
        FIRST_PURPOSE
    } else {
        STEP_PURPOSE
    };
    let mut entries = vec![entry(
        "himuon_step",
        purpose,
        &tiles,
        dynamic_shared_bytes,
        true,
    )];
    if three_launches {
        entries.push(entry("himuon_norm", NORM_PURPOSE, "matrix_count", 0, false));
        entries.push(entry("himuon_update", UPDATE_PURPOSE, &tiles, 0, false));
    }
    entries.push(entry(
        "himuon_map",
        "the map alone, of the gradient into the weight; momentum and groups are not used",
        &tiles,
        dynamic_shared_bytes,
        true,
    ));
    entries
}
