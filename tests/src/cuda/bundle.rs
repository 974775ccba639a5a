//! A kernel's bundle as another program finds it: `kernel.ptx` and `manifest.json`.

use super::range::Range;
use serde::Deserialize;
use std::path::Path;

/// A bundle read from its folder.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// What `manifest.json` says.
    pub manifest: Manifest,
    /// `kernel.ptx`.
    pub ptx: String,
}

/// The part of the manifest that a loader needs.
#[derive(Clone, Debug, Deserialize)]
pub struct Manifest {
    /// Version of the layout.
    pub schema: u32,
    /// Name of the kernel.
    pub id: String,
    /// Rows of a whole tile.
    pub tile_rows: u32,
    /// Columns of a whole tile.
    pub tile_columns: u32,
    /// Type of gradient and weight.
    pub weight_type: String,
    /// Type of the momentum.
    pub momentum_type: String,
    /// What is launched in which order.
    pub sequences: Vec<Sequence>,
    /// The kernels.
    pub entries: Vec<Entry>,
    /// The workspace that all entries share.
    pub tile_workspace: Option<TileWorkspace>,
    /// Layouts of the tables.
    pub tables: Vec<Table>,
}

/// Launches that belong together.
#[derive(Clone, Debug, Deserialize)]
pub struct Sequence {
    /// What for.
    pub purpose: String,
    /// In order.
    pub launches: Vec<Launch>,
}

/// A launch of a sequence.
#[derive(Clone, Debug, Deserialize)]
pub struct Launch {
    /// The entry's name.
    pub entry: String,
    /// Value of the parameter `index`.
    pub index: u32,
    /// Value of the parameter `turn`.
    pub turn: u32,
    /// It can be left out where no reports are wanted.
    pub for_reports: bool,
}

/// The rule of a workspace in which every tile has its own part.
#[derive(Clone, Debug, Deserialize)]
pub struct TileWorkspace {
    /// Parameter of its address.
    pub parameter: String,
    /// Parameter of the table of tiles.
    pub table_parameter: String,
    /// Matrices of a tile's size in f32.
    pub f32_matrices: u64,
    /// Matrices of a tile's size in the operand's type.
    pub operand_matrices: u64,
    /// Square matrices of its smaller edge in the operand's type.
    pub squares: u64,
    /// Bytes of an operand.
    pub operand_bytes: u64,
    /// Numbers that rows are padded to.
    pub padded_to: u64,
    /// One f32 for each row.
    pub row_factors: bool,
    /// Bytes that matrices begin at a multiple of.
    pub alignment: u64,
    /// Rows and columns of a patch.
    pub patch: [u64; 2],
    /// Edge of a block.
    pub block: u64,
}

/// A kernel.
#[derive(Clone, Debug, Deserialize)]
pub struct Entry {
    /// Name in the PTX.
    pub name: String,
    /// Blocks.
    pub grid: Grid,
    /// Threads of a block.
    pub block: u32,
    /// Dynamic shared memory of a block.
    pub dynamic_shared_bytes: u32,
    /// Scratch memory.
    pub workspace: Option<Workspace>,
    /// Parameters in order.
    pub parameters: Vec<Parameter>,
}

/// The rule of the number of blocks.
#[derive(Clone, Debug, Deserialize)]
pub struct Grid {
    /// `tiles` or `matrices`.
    pub count: String,
    /// How many of them a block takes.
    pub per_block: u32,
    /// Any other number of blocks will do.
    pub any_number: bool,
}

/// The rule of the scratch memory.
#[derive(Clone, Debug, Deserialize)]
pub struct Workspace {
    /// Parameter of its address.
    pub parameter: String,
    /// Parameter of a block's part.
    pub size_parameter: String,
    /// Bytes of a unit.
    pub unit_bytes: u64,
    /// Units times h w of the largest tile.
    pub per_element: u64,
    /// Units times min(h, w)^2 of the largest tile.
    pub per_square: u64,
}

/// A parameter.
#[derive(Clone, Debug, Deserialize)]
pub struct Parameter {
    /// Name.
    pub name: String,
    /// `pointer`, `u32` or `u64`.
    pub kind: String,
    /// Bytes.
    pub bytes: u32,
    /// Place in the parameter block.
    pub offset: u32,
    /// May be null.
    pub optional: bool,
}

/// A table's layout.
#[derive(Clone, Debug, Deserialize)]
pub struct Table {
    /// Name.
    pub name: String,
    /// Bytes of an entry.
    pub bytes: usize,
    /// Fields.
    pub fields: Vec<Field>,
}

/// A field.
#[derive(Clone, Debug, Deserialize)]
pub struct Field {
    /// Name.
    pub name: String,
    /// Place in the entry.
    pub offset: usize,
    /// `pointer`, `u32` or `f32`.
    pub kind: String,
}

impl Bundle {
    /// Reads a bundle's folder.
    ///
    /// # Errors
    /// A missing or unreadable file, by name.
    pub fn read(folder: &Path) -> Result<Bundle, String> {
        let read = |name: &str| {
            let path = folder.join(name);
            std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))
        };
        let manifest = serde_json::from_str(&read("manifest.json")?)
            .map_err(|error| format!("{}/manifest.json: {error}", folder.display()))?;
        Ok(Bundle {
            manifest,
            ptx: read("kernel.ptx")?,
        })
    }
}

impl Manifest {
    /// The launches of a purpose.
    ///
    /// # Errors
    /// When there is no such purpose, or an entry is missing.
    pub fn launches(&self, purpose: &str) -> Result<Vec<(&Launch, &Entry)>, String> {
        let sequence = self
            .sequences
            .iter()
            .find(|sequence| sequence.purpose == purpose)
            .ok_or_else(|| format!("{}: no sequence {purpose}", self.id))?;
        sequence
            .launches
            .iter()
            .map(|launch| {
                self.entries
                    .iter()
                    .find(|entry| entry.name == launch.entry)
                    .map(|entry| (launch, entry))
                    .ok_or_else(|| format!("{}: no entry {}", self.id, launch.entry))
            })
            .collect()
    }

    /// The layout of a table.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn table(&self, name: &str) -> Result<&Table, String> {
        self.tables
            .iter()
            .find(|table| table.name == name)
            .ok_or_else(|| format!("{}: no table {name}", self.id))
    }

    /// Whether there is a sequence for a purpose.
    pub fn has_sequence(&self, purpose: &str) -> bool {
        self.sequences.iter().any(|s| s.purpose == purpose)
    }

    /// Sizes of the tiles of a `rows` x `columns` matrix as cut, in their order.
    pub fn cut(&self, rows: u32, columns: u32) -> Vec<(u32, u32)> {
        let edges = |extent: u32, tile: u32| {
            let first = (0..extent.div_ceil(tile)).map(move |i| i * tile);
            first.map(move |first| tile.min(extent - first))
        };
        edges(rows, self.tile_rows)
            .flat_map(|h| edges(columns, self.tile_columns).map(move |w| (h, w)))
            .collect()
    }

    /// Tiles of a `rows` x `columns` matrix.
    pub fn tiles(&self, rows: u32, columns: u32) -> u32 {
        rows.div_ceil(self.tile_rows) * columns.div_ceil(self.tile_columns)
    }
}

impl Grid {
    /// Whether a launch is for all tiles together, whatever the range.
    pub fn is_by_matrix(&self) -> bool {
        self.count == "matrices"
    }

    /// Blocks for a range of tiles and so many matrices.
    ///
    /// # Errors
    /// When the rule counts something else.
    pub fn blocks(&self, range: &Range, matrices: u32) -> Result<u32, String> {
        let count = match self.count.as_str() {
            "tiles" => u64::from(range.count),
            "matrices" => u64::from(matrices),
            "one" => 1,
            "patches" => range.work.patches,
            "triangle" => range.work.triangle,
            "blocks" => range.work.blocks,
            other => return Err(format!("blocks by {other}")),
        };
        u32::try_from(count.div_ceil(u64::from(self.per_block)))
            .map_err(|_| format!("{count} {} are too many", self.count))
    }
}
