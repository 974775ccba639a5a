//! Tiles that run together. Where each tile has its own workspace a chunk is one range of tiles after another, as many
//! to a range as the workspace has room for; everywhere else it is one range.

use std::sync::Arc;

use cudarc::driver::CudaStream;
use himuon_templates::variant::{Streamed, StreamedTile};
use himuon_templates::{KernelSpec, Variant};

use super::arguments::TileArguments;
use super::driver::DeviceMemory;
use super::kernel::{Method, TileKernel};
use super::scratch::tile_count;
use crate::backend::BackendError;

/// Tiles with consecutive numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TileRange {
    pub(super) first: u32,
    pub(super) tiles: u32,
    /// Workspace and work of all of them.
    pub(super) work: StreamedTile,
    /// Address of their table; 0 where the family has none.
    pub(super) table: u64,
}

impl TileRange {
    /// All tiles of a chunk.
    pub(super) fn whole(tiles: u32) -> Self {
        TileRange {
            tiles,
            ..TileRange::default()
        }
    }

    /// Bytes of the table of its tiles, in a family that has them.
    pub(super) fn table_bytes(&self) -> usize {
        Streamed::table_bytes(u64::from(self.tiles)) as usize
    }
}

impl Method {
    /// The ranges of matrices of these shapes (rows, columns) in the order of their launch, in a scratch memory of
    /// `capacity` bytes, which holds the largest tile.
    pub(super) fn ranges(
        &self,
        spec: &KernelSpec,
        shapes: &[(usize, usize)],
        capacity: usize,
    ) -> Vec<TileRange> {
        let Variant::Streamed(settings) = &self.variant else {
            let tiles = shapes.iter().map(|&(h, w)| tile_count(spec, h, w));
            return vec![TileRange::whole(tiles.sum::<u64>() as u32)];
        };
        let mut ranges = Vec::new();
        let mut range = TileRange::default();
        for &(rows, columns) in shapes {
            for tile in tiles(settings, spec, rows, columns) {
                let bytes = range.work.workspace_bytes + tile.workspace_bytes;
                if range.tiles > 0 && bytes > capacity as u64 {
                    let first = range.first + range.tiles;
                    ranges.push(std::mem::take(&mut range));
                    range.first = first;
                }
                range.add(&tile);
            }
        }
        ranges.push(range);
        ranges
    }
}

impl TileRange {
    fn add(&mut self, tile: &StreamedTile) {
        self.tiles += 1;
        let work = &mut self.work;
        work.workspace_bytes += tile.workspace_bytes;
        for (sum, count) in [
            (&mut work.patches, tile.patches),
            (&mut work.triangle, tile.triangle),
            (&mut work.blocks, tile.blocks),
        ] {
            *sum = sum.saturating_add(count);
        }
    }
}

/// The tiles of a matrix as they are numbered, row by row.
fn tiles(
    settings: &Streamed,
    spec: &KernelSpec,
    rows: usize,
    columns: usize,
) -> impl Iterator<Item = StreamedTile> {
    let (height, width) = spec.tile.effective(rows, columns);
    let (height, width) = (height.max(1), width.max(1));
    let (down, across) = (rows.div_ceil(height), columns.div_ceil(width));
    let size = move |h: usize, w: usize| settings.tile(spec, h as u32, w as u32);
    let (last_height, last_width) = (
        rows - (down.max(1) - 1) * height,
        columns - (across.max(1) - 1) * width,
    );
    let of_row = move |h| [size(h, width), size(h, last_width)];
    let (whole, last) = (of_row(height), of_row(last_height));
    (0..down).flat_map(move |row| {
        let sizes = if row + 1 == down { last } else { whole };
        (0..across).map(move |column| sizes[usize::from(column + 1 == across)])
    })
}

/// The ranges of a bound chunk, and the tables of their tiles on the device.
#[derive(Debug, Default)]
pub(super) struct BoundRanges {
    ranges: Vec<TileRange>,
    tables: Option<DeviceMemory>,
    /// Shapes and scratch memory that the ranges were cut for; none: the tables are not filled.
    cut_for: Option<(Vec<(usize, usize)>, usize)>,
    /// A graph holds the addresses.
    pinned: bool,
}

impl BoundRanges {
    pub(super) fn get(&self) -> &[TileRange] {
        &self.ranges
    }

    /// From now on the tables stay where they are.
    pub(super) fn pin(&mut self) {
        self.pinned = true;
    }

    /// Cuts the chunk anew where shapes or scratch memory have changed, and has the device fill the tables, which the
    /// launches of every later step read. `arguments` are those of the chunk, its table of matrices is written.
    pub(super) fn bind(
        &mut self,
        stream: &Arc<CudaStream>,
        kernel: &TileKernel,
        (spec, shapes, capacity): (&KernelSpec, Vec<(usize, usize)>, usize),
        arguments: &TileArguments,
    ) -> Result<(), BackendError> {
        let wanted = Some((shapes, capacity));
        if self.cut_for == wanted {
            return Ok(());
        }
        self.cut_for = None;
        let shapes = wanted.as_ref().map_or(&[][..], |(shapes, _)| shapes);
        self.ranges = kernel.method.ranges(spec, shapes, capacity);
        if kernel.method.has_tile_tables() {
            self.place_tables(stream)?;
            for range in &self.ranges {
                kernel.lay_out(stream, arguments, range)?;
            }
        }
        self.cut_for = wanted;
        Ok(())
    }

    fn place_tables(&mut self, stream: &Arc<CudaStream>) -> Result<(), BackendError> {
        let bytes = self.ranges.iter().map(TileRange::table_bytes).sum();
        let held = self.tables.as_ref().map_or(0, DeviceMemory::bytes);
        if held < bytes {
            if self.pinned {
                return Err(BackendError::Device {
                    action: "writing the tables of tiles".to_owned(),
                    reason: "they have grown since the step was recorded; record again".to_owned(),
                    lost: false,
                });
            }
            self.tables = None;
            self.tables = Some(DeviceMemory::zeroed(stream, bytes, "the tables of tiles")?);
        }
        let mut at = self.tables.as_ref().map_or(0, DeviceMemory::pointer);
        for range in &mut self.ranges {
            range.table = at;
            at += range.table_bytes() as u64;
        }
        Ok(())
    }
}
