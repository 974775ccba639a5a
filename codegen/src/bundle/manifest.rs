//! All that a loader needs to launch a kernel, as plain data.

use super::{entries, streamed, tables};
use crate::compile::Resources;
use himuon_templates::{Architecture, KernelId, KernelSpec, Tile, Variant};
use serde::Serialize;

/// `manifest.json`. Sizes are in bytes, counts in elements; every number is little-endian.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Manifest {
    /// Version of this layout.
    pub schema: u32,
    /// Slug and digest of the text.
    pub id: String,
    /// What is computed; reads back as a specification.
    pub specification: String,
    /// How.
    pub variant: String,
    /// The class that the text is for: it compiles for every device of it.
    pub architecture: String,
    /// What PTX and cubin were compiled for.
    pub target: Option<String>,
    /// The command that remakes the text.
    pub command: String,
    /// Options of NVRTC besides the architecture.
    pub compiler_options: Vec<String>,
    /// Rows of a whole tile; the largest `u32` for the whole matrix.
    pub tile_rows: u32,
    /// Columns of a whole tile.
    pub tile_columns: u32,
    /// Type of gradient and weight: `f32`, `bf16` or `f16`.
    pub weight_type: String,
    /// Type of the momentum.
    pub momentum_type: String,
    /// Type of the operands of the products.
    pub operand_type: String,
    /// How tiles are numbered.
    pub tile_order: &'static str,
    /// What addresses must be multiples of.
    pub alignment: &'static str,
    /// What is launched in which order, on one stream.
    pub sequences: Vec<Sequence>,
    /// The kernels.
    pub entries: Vec<Entry>,
    /// The workspace that all entries share; none where an entry has its own, or none.
    pub tile_workspace: Option<TileWorkspace>,
    /// The tables that their pointers point to.
    pub tables: Vec<Table>,
    /// What `ptxas` and `nvdisasm` say of each entry.
    pub resources: Vec<Resources>,
}

/// Launches that belong together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sequence {
    /// `step`: the optimizer step. `map`: the map alone. `layout`: what must precede both when matrices or the range
    /// of tiles have changed, in families that have it.
    pub purpose: &'static str,
    /// In order.
    pub launches: Vec<Launch>,
}

/// One launch of a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Launch {
    /// Name of the entry.
    pub entry: &'static str,
    /// Value of the parameter `index`, where the entry has it.
    pub index: u32,
    /// Value of the parameter `turn`, where the entry has it.
    pub turn: u32,
    /// It can be left out where no reports are wanted.
    pub for_reports: bool,
}

impl Launch {
    pub(super) fn of(entry: &'static str) -> Launch {
        Launch {
            entry,
            index: 0,
            turn: 0,
            for_reports: false,
        }
    }
}

/// One kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Its name in PTX and cubin.
    pub name: &'static str,
    /// What it does.
    pub purpose: &'static str,
    /// Blocks of the launch, one-dimensional.
    pub grid: Grid,
    /// Threads of a block, one-dimensional.
    pub block: u32,
    /// Dynamic shared memory of a block. Above 48 KiB the limit of the function must be raised first.
    pub dynamic_shared_bytes: u32,
    /// Global memory that it works in.
    pub workspace: Option<Workspace>,
    /// In order.
    pub parameters: Vec<Parameter>,
}

/// Blocks of a launch: `count` divided by `per_block`, rounded up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Grid {
    /// What is counted.
    pub count: Count,
    /// How many of them a block takes.
    pub per_block: u32,
    /// Any other number of blocks computes the same: they take tiles in turn.
    pub any_number: bool,
    /// The same for people.
    pub rule: String,
}

/// What decides the number of blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Count {
    /// Tiles of all matrices.
    Tiles,
    /// Matrices.
    Matrices,
    /// One block.
    One,
    /// Patches of [`TileWorkspace::patch`] of the tiles' X, see there.
    Patches,
    /// Blocks on and below the diagonal of the tiles' Gram matrices, see [`TileWorkspace::block`].
    Triangle,
    /// Blocks of the tiles' X, see [`TileWorkspace::block`].
    Blocks,
}

impl Grid {
    pub(super) fn of(count: Count, per_block: u32) -> Grid {
        let name = match count {
            Count::Tiles => "tile_count",
            Count::Matrices => "matrix_count",
            Count::One => "1",
            Count::Patches => "patches of all tiles of the range",
            Count::Triangle => {
                "blocks of one triangle of the Gram matrices of all tiles of the range"
            }
            Count::Blocks => "blocks of X of all tiles of the range",
        };
        let rule = match per_block {
            1 => name.to_owned(),
            n => format!("ceil({name} / {n})"),
        };
        Grid {
            count,
            per_block,
            any_number: false,
            rule,
        }
    }
}

/// The workspace of the streamed family: every tile of a range has its own part, where its matrices lie.
///
/// A tile of h x w as cut is m = min(h, w) by n = max(h, w); n' and m' are n and m rounded up to `padded_to`. Its
/// part is the sum of `f32_matrices` of 4 m n', `operand_matrices` of b m n', `squares` of b m m', with b =
/// `operand_bytes`, of 8 max(patches, triangle), and of 4 m if `row_factors`, each rounded up to `alignment`.
/// patches = `ceil(m / patch[0]) ceil(n' / patch[1])`, triangle = e (e + 1) / 2 and blocks = e ceil(n' / block) with
/// e = ceil(m / block).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TileWorkspace {
    /// The parameter that takes the workspace's address, aligned to `alignment`: the parts of all tiles of the range.
    pub parameter: &'static str,
    /// The parameter that takes the table of tiles: one entry more than there are tiles in the range. The sequence
    /// `layout` fills it.
    pub table_parameter: &'static str,
    /// Matrices of the tile's size in f32.
    pub f32_matrices: u32,
    /// Matrices of the tile's size in the type of the operand.
    pub operand_matrices: u32,
    /// Square matrices of the tile's smaller edge in the type of the operand.
    pub squares: u32,
    /// Bytes of an operand.
    pub operand_bytes: u32,
    /// Numbers that the rows of matrices are padded to a multiple of.
    pub padded_to: u32,
    /// Whether there is one f32 for each row.
    pub row_factors: bool,
    /// Bytes that each matrix begins at a multiple of.
    pub alignment: u32,
    /// Rows and columns of a patch of elementwise work.
    pub patch: [u32; 2],
    /// Edge of a block of a product.
    pub block: u32,
}

/// Scratch memory in device memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Workspace {
    /// The parameter that takes its address; it is aligned to 16 bytes.
    pub parameter: &'static str,
    /// The parameter that takes what a block has of it, in units.
    pub size_parameter: &'static str,
    /// Bytes of a unit.
    pub unit_bytes: u32,
    /// Units for each element of the largest tile h x w: times h w ...
    pub per_element: u32,
    /// ... and for each of its square: times min(h, w)^2.
    pub per_square: u32,
    /// The same for people.
    pub rule: &'static str,
}

/// One kernel parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Parameter {
    /// Its name in the text.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// Its size.
    pub bytes: u32,
    /// Where it lies in the parameter block.
    pub offset: u32,
    /// Of a pointer: the table or type of what it points to in device memory.
    pub points_to: Option<&'static str>,
    /// Of a pointer: what is done there.
    pub access: Option<Access>,
    /// Of a pointer: whether it may be null.
    pub optional: bool,
    /// What is counted.
    pub unit: &'static str,
    /// Meaning.
    pub meaning: &'static str,
}

/// The type of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A device address, 64 bits.
    Pointer,
    /// Unsigned, 32 bits.
    U32,
    /// Unsigned, 64 bits.
    U64,
}

/// What a kernel does behind a pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Reads.
    Read,
    /// Writes.
    Write,
    /// Both.
    ReadWrite,
}

/// The layout of one entry of a table in device memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Table {
    /// Its name in the text.
    pub name: &'static str,
    /// Bytes from one entry to the next.
    pub bytes: u32,
    /// What its address is a multiple of.
    pub alignment: u32,
    /// Fields in the order of their offsets.
    pub fields: &'static [Field],
}

/// A field of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Field {
    /// Its name in the text.
    pub name: &'static str,
    /// Offset in bytes.
    pub offset: u32,
    /// `pointer` (64 bits), `u32` or `f32`.
    pub kind: &'static str,
    /// Meaning and unit.
    pub meaning: &'static str,
}

impl Manifest {
    /// The manifest of a kernel that has not been compiled.
    pub fn new(
        spec: &KernelSpec,
        variant: &Variant,
        architecture: Architecture,
        id: &KernelId,
    ) -> Manifest {
        let (tile_rows, tile_columns) = match spec.tile {
            Tile::Full => (u32::MAX, u32::MAX),
            Tile::Sized { rows, columns } => (rows, columns),
        };
        let (entries, sequences) = entries::entries(spec, variant);
        Manifest {
            schema: 3,
            id: id.to_string(),
            specification: spec.to_string(),
            variant: variant.to_string(),
            architecture: architecture.to_string(),
            target: None,
            command: crate::render::command(spec, variant, architecture),
            compiler_options: crate::compile::OPTIONS.map(str::to_owned).to_vec(),
            tile_rows,
            tile_columns,
            weight_type: spec.storage.weight.to_string(),
            momentum_type: spec.storage.momentum.to_string(),
            operand_type: spec.operand.to_string(),
            tile_order: "tiles are numbered through all matrices in the order of the table, row by row; a matrix has \
                         ceil(rows / tile_rows) rows of ceil(columns / tile_columns) tiles, the last ones of a row or \
                         column as small as what is left",
            alignment: "tensors: one number. Where address and leading dimension of gradient, momentum, weight and \
                        mapped are multiples of four numbers, and the columns too, accesses are four numbers wide",
            sequences,
            entries,
            tile_workspace: match variant {
                Variant::Streamed(settings) => Some(streamed::workspace(spec, settings)),
                Variant::Plain(_) | Variant::Resident(_) => None,
            },
            tables: tables::tables(spec, variant),
            resources: Vec::new(),
        }
    }
}
