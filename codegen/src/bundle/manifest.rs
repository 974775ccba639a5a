//! All that a loader needs to launch a kernel, as plain data.

use super::layout;
use crate::compile::Resources;
use himuon_templates::{Architecture, KernelId, KernelSpec, Variant};
use serde::Serialize;

/// `manifest.json`. Sizes are in bytes, counts in elements; every integer is little-endian.
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
    /// Types of gradient and weight, momentum and operand.
    pub weight_type: String,
    /// Type of the momentum.
    pub momentum_type: String,
    /// How tiles are numbered.
    pub tile_order: &'static str,
    /// The kernels, in the order of a step.
    pub entries: Vec<Entry>,
    /// The tables that their pointers point to.
    pub tables: Vec<Table>,
    /// What `ptxas` reports of each entry.
    pub resources: Vec<Resources>,
}

/// One kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Its name in PTX and cubin.
    pub name: &'static str,
    /// What it does.
    pub purpose: &'static str,
    /// Blocks of the launch, one-dimensional.
    pub grid: String,
    /// Threads of a block, one-dimensional.
    pub block: u32,
    /// Dynamic shared memory of a block. Above 48 KiB the limit of the function must be raised first.
    pub dynamic_shared_bytes: u32,
    /// Global memory that a block works in, if any, as a rule.
    pub workspace: &'static str,
    /// In order; each lies at a multiple of its size in the parameter block.
    pub parameters: Vec<Parameter>,
}

/// One kernel parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Parameter {
    /// Its name in the text.
    pub name: &'static str,
    /// `pointer`, `u32` or `u64`.
    pub kind: &'static str,
    /// Meaning, unit, and what it points to.
    pub meaning: &'static str,
}

/// The layout of one entry of a table in device memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Table {
    /// Its name in the text.
    pub name: &'static str,
    /// Bytes of an entry; the table itself is aligned to 8.
    pub bytes: u32,
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
    /// `pointer`, `u32` or `f32`.
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
        let (tile_rows, tile_columns) = layout::tile(spec);
        Manifest {
            schema: 1,
            id: id.to_string(),
            specification: spec.to_string(),
            variant: variant.to_string(),
            architecture: architecture.to_string(),
            target: None,
            command: format!(
                "himuon emit --spec '{spec}' --variant '{variant}' --architecture {architecture}"
            ),
            compiler_options: vec!["--std=c++17".to_owned()],
            tile_rows,
            tile_columns,
            weight_type: spec.storage.weight.to_string(),
            momentum_type: spec.storage.momentum.to_string(),
            tile_order: "tiles are numbered through all matrices in the order of the table, row by row; the last \
                         row and column of tiles of a matrix may be smaller",
            entries: layout::entries(spec, variant),
            tables: layout::TABLES.to_vec(),
            resources: Vec::new(),
        }
    }
}
