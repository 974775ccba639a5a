//! The tables in device memory, as `lib/launch.cuh` declares them.

use super::manifest::{Field, Table};
use himuon_templates::{Coarse, KernelSpec, Variant};

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

/// The tables of a variant; a pointer parameter names the one that it points to.
pub(super) fn tables(spec: &KernelSpec, variant: &Variant) -> Vec<Table> {
    let matrix = match spec.storage.master_weights {
        true => MATRIX_WITH_REMAINDER,
        false => MATRIX,
    };
    let mut tables = vec![matrix, GROUP, TILE_REPORT];
    if matches!(variant, Variant::Streamed(_)) {
        tables.push(STREAMED_TILE);
    }
    if spec.coarse != Coarse::Off {
        tables.push(COUPLED);
    }
    tables
}

const STREAMED_TILE: Table = Table {
    name: "StreamedTile",
    bytes: 64,
    alignment: 16,
    fields: &[
        field(
            "workspace",
            0,
            "u64",
            "bytes of the workspace before this tile's; in the entry behind the last tile those of all",
        ),
        field("matrix", 8, "u32", "index in the table of matrices"),
        field("rows", 12, "u32", "the smaller edge of the tile as cut"),
        field("columns", 16, "u32", "the larger edge"),
        field("patch", 20, "u32", "patches of the tiles before"),
        field(
            "triangle",
            24,
            "u32",
            "blocks of one triangle of the tiles before",
        ),
        field("block", 28, "u32", "blocks of X of the tiles before"),
        field(
            "state",
            32,
            "u32",
            "the launches' own, as is what lies behind it",
        ),
    ],
};

/// What the step reads of an entry; the launches before it, which are those of the runtime, fill in the rest.
const COUPLED: Table = Table {
    name: "Coupled",
    bytes: 240,
    alignment: 16,
    fields: &[
        field(
            "captured",
            56,
            "pointer",
            "rows x rank numbers of f32: times the transpose of right what is subtracted from M",
        ),
        field(
            "added",
            64,
            "pointer",
            "rows x rank numbers of f32: times the transpose of right the coarse part",
        ),
        field("right", 80, "pointer", "columns x rank numbers of f32"),
        field(
            "report",
            120,
            "pointer",
            "its first u32: 1 where there is a coarse part, 2 where the matrix is not finite",
        ),
        field("rank", 184, "u32", "columns of the factors; 0: tiles alone"),
        field(
            "stride",
            188,
            "u32",
            "numbers from one row of a factor to the next, a multiple of four, zeros beyond the rank",
        ),
        field(
            "flags",
            196,
            "u32",
            "bit 1: the coarse part is all there is; others are not read",
        ),
        field(
            "factor",
            212,
            "f32",
            "of the coarse part, before the scale of the whole matrix",
        ),
        field(
            "captured_decay",
            216,
            "f32",
            "what is captured times this is taken from the momentum",
        ),
    ],
};

const MATRIX: Table = Table {
    name: "Matrix",
    bytes: 64,
    alignment: 16,
    fields: &MATRIX_FIELDS,
};

/// With master weights.
const MATRIX_WITH_REMAINDER: Table = Table {
    bytes: 80,
    fields: &REMAINDER_FIELDS,
    ..MATRIX
};

const REMAINDER_FIELDS: [Field; MATRIX_FIELDS.len() + 1] = {
    let mut fields = [field(
        "remainder",
        64,
        "pointer",
        "rows x columns signed integers of 16 bits, contiguous: the bits of the f32 master weight are those of the \
         weight times 2^16 plus this; all zero at first; null for himuon_map",
    ); MATRIX_FIELDS.len() + 1];
    let mut index = 0;
    while index < MATRIX_FIELDS.len() {
        fields[index] = MATRIX_FIELDS[index];
        index += 1;
    }
    fields
};

const MATRIX_FIELDS: [Field; 12] = [
    field(
        "gradient",
        0,
        "pointer",
        "rows x columns numbers of weight_type",
    ),
    field(
        "momentum",
        8,
        "pointer",
        "rows x columns numbers of momentum_type, contiguous; unused by himuon_map",
    ),
    field(
        "weight",
        16,
        "pointer",
        "rows x columns numbers of weight_type",
    ),
    field(
        "mapped",
        24,
        "pointer",
        "power > 0: rows x columns numbers of f32, contiguous, kept between the launches (the gradient itself \
             will do where that is f32, contiguous and not needed any more); else unused",
    ),
    field("rows", 32, "u32", "rows of the matrix, at least 1"),
    field("columns", 36, "u32", "columns of the matrix, at least 1"),
    field(
        "gradient_leading",
        40,
        "u32",
        "numbers from one row of the gradient to the next, at least columns",
    ),
    field(
        "weight_leading",
        44,
        "u32",
        "numbers from one row of the weight to the next, at least columns",
    ),
    field(
        "first_tile",
        48,
        "u32",
        "number of the matrix's first tile: the tiles of all matrices before it",
    ),
    field(
        "group",
        52,
        "u32",
        "index in the table of groups; unused by himuon_map",
    ),
    field("factor", 56, "f32", "power > 0: written by himuon_norm"),
    field("largest", 60, "f32", "power > 0: written by himuon_norm"),
];

const GROUP: Table = Table {
    name: "Group",
    bytes: 32,
    alignment: 16,
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
        field(
            "scale_factor",
            24,
            "f32",
            "factor of the scale rules; power > 0: the RMS of the update",
        ),
        field(
            "scale_rule",
            28,
            "u32",
            "power 0: 0 factor sqrt(max(h, w)) of the tile as cut; 1 the same of a whole tile; 2 sqrt(max(1, rows / \
             columns)); 3 factor sqrt(max(rows, columns)); 4 one",
        ),
    ],
};

const TILE_REPORT: Table = Table {
    name: "TileReport",
    bytes: 16,
    alignment: 16,
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
};
