//! Ranges of tiles that are worked on together, and their workspace where every tile has its own.

use super::bundle::{Manifest, TileWorkspace};
use super::device::{Device, Memory};

/// Tiles with consecutive numbers.
#[derive(Debug)]
pub struct Range {
    /// The first one.
    pub first: u32,
    /// How many.
    pub count: u32,
    /// What the grids of launches count.
    pub work: Work,
    memory: Option<(Memory, Memory)>,
}

/// How much tiles are, added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Bytes of workspace.
    pub bytes: u64,
    /// Patches.
    pub patches: u64,
    /// Blocks of one triangle.
    pub triangle: u64,
    /// Blocks of X.
    pub blocks: u64,
}

impl Work {
    /// That of a tile of h x w as cut, by the rule that the manifest states.
    pub fn of(rule: &TileWorkspace, h: u32, w: u32) -> Work {
        let padded = |edge: u64| edge.next_multiple_of(rule.padded_to);
        let aligned = |bytes: u64| bytes.next_multiple_of(rule.alignment);
        let (m, n) = (u64::from(h.min(w)), u64::from(h.max(w)));
        let e = m.div_ceil(rule.block);
        let patches = m.div_ceil(rule.patch[0]) * padded(n).div_ceil(rule.patch[1]);
        let triangle = e * (e + 1) / 2;
        let b = rule.operand_bytes;
        let bytes = rule.f32_matrices * aligned(4 * m * padded(n))
            + rule.operand_matrices * aligned(b * m * padded(n))
            + rule.squares * aligned(b * m * padded(m))
            + aligned(8 * patches.max(triangle))
            + u64::from(rule.row_factors) * aligned(4 * m);
        Work {
            bytes,
            patches,
            triangle,
            blocks: e * padded(n).div_ceil(rule.block),
        }
    }

    fn plus(self, other: Work) -> Work {
        Work {
            bytes: self.bytes + other.bytes,
            patches: self.patches + other.patches,
            triangle: self.triangle + other.triangle,
            blocks: self.blocks + other.blocks,
        }
    }
}

impl Range {
    /// `tiles`, sizes as cut, in ranges of at most `most`, each with workspace that nothing has written.
    ///
    /// # Errors
    /// What the driver says.
    pub fn cut(
        device: &Device,
        manifest: &Manifest,
        tiles: &[(u32, u32)],
        most: usize,
    ) -> Result<Vec<Range>, String> {
        let mut first = 0;
        let range = |tiles: &[(u32, u32)]| -> Result<Range, String> {
            let count = tiles.len() as u32;
            let start = first;
            first += count;
            let Some(rule) = &manifest.tile_workspace else {
                return Ok(Range {
                    first: start,
                    count,
                    work: Work::default(),
                    memory: None,
                });
            };
            let each = tiles.iter().map(|(h, w)| Work::of(rule, *h, *w));
            let work = each.fold(Work::default(), Work::plus);
            let entry = manifest.table("StreamedTile")?.bytes;
            let table = device.uninitialised(entry * (tiles.len() + 1))?;
            let workspace = device.uninitialised(work.bytes as usize)?;
            Ok(Range {
                first: start,
                count,
                work,
                memory: Some((table, workspace)),
            })
        };
        let most = if manifest.tile_workspace.is_some() {
            most.max(1)
        } else {
            usize::MAX
        };
        tiles.chunks(most).map(range).collect()
    }

    /// The address that a parameter of the workspace takes.
    pub fn value(&self, manifest: &Manifest, parameter: &str) -> Option<u64> {
        let rule = manifest.tile_workspace.as_ref()?;
        let (table, workspace) = self.memory.as_ref()?;
        if parameter == rule.table_parameter {
            Some(table.address())
        } else {
            (parameter == rule.parameter).then(|| workspace.address())
        }
    }
}
