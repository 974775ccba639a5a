//! A kernel's bundle as another program finds it: `kernel.ptx` and `manifest.json`.

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
    /// Layouts of the tables.
    pub tables: Vec<Table>,
}

/// Launches that belong together.
#[derive(Clone, Debug, Deserialize)]
pub struct Sequence {
    /// What for.
    pub purpose: String,
    /// Entries in order.
    pub launches: Vec<String>,
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
    pub fn launches(&self, purpose: &str) -> Result<Vec<&Entry>, String> {
        let sequence = self
            .sequences
            .iter()
            .find(|sequence| sequence.purpose == purpose)
            .ok_or_else(|| format!("{}: no sequence {purpose}", self.id))?;
        sequence
            .launches
            .iter()
            .map(|name| {
                self.entries
                    .iter()
                    .find(|entry| entry.name == *name)
                    .ok_or_else(|| format!("{}: no entry {name}", self.id))
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

    /// Tiles of a `rows` x `columns` matrix.
    pub fn tiles(&self, rows: u32, columns: u32) -> u32 {
        rows.div_ceil(self.tile_rows) * columns.div_ceil(self.tile_columns)
    }
}

impl Grid {
    /// Blocks for so many tiles and matrices.
    ///
    /// # Errors
    /// When the rule counts something else.
    pub fn blocks(&self, tiles: u32, matrices: u32) -> Result<u32, String> {
        match self.count.as_str() {
            "tiles" => Ok(tiles.div_ceil(self.per_block)),
            "matrices" => Ok(matrices.div_ceil(self.per_block)),
            other => Err(format!("blocks by {other}")),
        }
    }
}
