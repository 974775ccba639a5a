//! Where everything of a chunk lies in the workspace, and how much of it there is.

use std::cmp::Reverse;

use himuon_codegen::bundle::Workspace as BlockScratch;
use himuon_templates::variant::Streamed;
use himuon_templates::{KernelSpec, Variant};

use super::kernel::{MapsIn, Method};
use super::table::REPORT_BYTES;
use crate::launch::MatrixDemand;

/// Blocks of a product for each block that the device is given at once, where tiles have workspace of their own: the
/// more of them a launch has, the smaller the part of the device that waits for its last ones.
const BLOCKS_IN_RANGE: usize = 2;

/// The workspace of a chunk: reports first, then what tiles are computed in, then mapped matrices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Workspace {
    pub(super) reported: bool,
    /// What a block has of the scratch memory, in the units of its kernel; 0 where tiles have their own.
    pub(super) units_of_block: usize,
    pub(super) blocks: usize,
    pub(super) scratch_offset: usize,
    pub(super) scratch_bytes: usize,
    pub(super) mapped_offset: usize,
    /// By matrix, from `mapped_offset` on.
    pub(super) mapped: Vec<usize>,
    pub(super) bytes: usize,
}

/// What tiles are computed in.
#[derive(Default)]
struct Scratch {
    units_of_block: usize,
    bytes: usize,
}

impl Method {
    /// Where everything lies in the workspace of matrices that run together, with `blocks` blocks at once.
    pub(super) fn workspace(
        &self,
        spec: &KernelSpec,
        matrices: &[MatrixDemand],
        blocks: usize,
    ) -> Workspace {
        let counts = matrices
            .iter()
            .map(|m| tile_count(spec, m.rows, m.columns) as usize);
        let tiles: usize = counts.sum();
        let reported = self.needs_reports() || matrices.iter().any(|matrix| matrix.diagnosed);
        let reports = if reported {
            aligned(REPORT_BYTES * tiles)
        } else {
            0
        };
        let scratch = match (&self.variant, self.block_scratch()) {
            (Variant::Streamed(settings), _) => of_tiles(settings, spec, matrices, blocks),
            (_, Some(rule)) => of_blocks(rule, spec, matrices, blocks.min(tiles)),
            _ => Scratch::default(),
        };
        let mut mapped_bytes = 0;
        let mut mapped = Vec::with_capacity(matrices.len());
        for matrix in matrices {
            mapped.push(mapped_bytes);
            if self.maps() == MapsIn::Workspace {
                mapped_bytes += aligned(4 * matrix.rows * matrix.columns);
            }
        }
        Workspace {
            reported,
            units_of_block: scratch.units_of_block,
            blocks: blocks.min(tiles),
            scratch_offset: reports,
            scratch_bytes: scratch.bytes,
            mapped_offset: reports + scratch.bytes,
            mapped,
            bytes: reports + scratch.bytes + mapped_bytes,
        }
    }
}

/// Every block has room for the largest tile.
fn of_blocks(
    rule: &BlockScratch,
    spec: &KernelSpec,
    matrices: &[MatrixDemand],
    blocks: usize,
) -> Scratch {
    let units = |matrix: &MatrixDemand| {
        let (height, width) = spec.tile.effective(matrix.rows, matrix.columns);
        let short = height.min(width);
        rule.per_element as usize * height * width + rule.per_square as usize * short * short
    };
    let units_of_block = matrices.iter().map(units).max().unwrap_or(0);
    Scratch {
        units_of_block,
        bytes: aligned(rule.unit_bytes as usize * units_of_block * blocks),
    }
}

/// Every tile of a range has its own workspace: enough of them to keep the device busy, or the largest alone, or all.
///
/// The capacity depends neither on which matrices are there nor on their order, so that a step with fewer of them
/// fits where all fit.
fn of_tiles(
    settings: &Streamed,
    spec: &KernelSpec,
    matrices: &[MatrixDemand],
    blocks: usize,
) -> Scratch {
    let (mut all, mut largest) = (0, 0);
    for matrix in matrices {
        for ((height, width), count) in sizes(spec, matrix.rows, matrix.columns) {
            let bytes = settings.tile(spec, height, width).workspace_bytes;
            all += count * bytes;
            largest = largest.max(bytes);
        }
    }
    let edge = settings.block;
    let of_block = settings.tile(spec, edge, edge).workspace_bytes;
    // One block at a time is one tile at a time: the least that a step can do with.
    let busy = (BLOCKS_IN_RANGE * blocks.saturating_sub(1)) as u64 * of_block;
    Scratch {
        units_of_block: 0,
        bytes: aligned(all.min(busy.max(largest)) as usize),
    }
}

/// Sizes of the tiles of a matrix as cut, and how many there are of each.
fn sizes(
    spec: &KernelSpec,
    rows: usize,
    columns: usize,
) -> impl Iterator<Item = ((u32, u32), u64)> {
    let (height, width) = spec.tile.effective(rows, columns);
    let edges = |extent: usize, edge: usize| {
        let edge = edge.max(1);
        [
            (edge as u32, (extent / edge) as u64),
            (
                (extent % edge) as u32,
                u64::from(!extent.is_multiple_of(edge)),
            ),
        ]
    };
    let across = edges(columns, width);
    edges(rows, height)
        .into_iter()
        .flat_map(move |(h, down)| across.map(|(w, across)| ((h, w), down * across)))
        .filter(|(_, count)| *count > 0)
}

pub(super) fn tile_count(spec: &KernelSpec, rows: usize, columns: usize) -> u64 {
    let (height, width) = spec.tile.effective(rows, columns);
    rows.div_ceil(height.max(1)) as u64 * columns.div_ceil(width.max(1)) as u64
}

/// The order in which a launch lists matrices of these shapes (rows, columns): those with the dearest tiles first.
/// Blocks start in this order, so the device is not left waiting for one large tile at the end.
pub(super) fn order(spec: &KernelSpec, shapes: &[(usize, usize)]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..shapes.len()).collect();
    order.sort_by_key(|&index| {
        let (rows, columns) = shapes[index];
        let (height, width) = spec.tile.effective(rows, columns);
        // What the products of a whole tile are proportional to.
        Reverse(height * width * height.min(width))
    });
    order
}

/// Allocations and vector accesses are aligned to this.
pub(super) fn aligned(bytes: usize) -> usize {
    bytes.next_multiple_of(256)
}
