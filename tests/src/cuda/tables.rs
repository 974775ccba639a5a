//! The tables of a launch, laid out as the manifest says.

use super::bundle::Manifest;
use super::record::{Value, append, word};
use himuon::launch::{GroupScalars, ScaleRule, TileDiagnostics};

/// A matrix whose tensors are on the device.
pub(super) struct OnDevice {
    pub(super) rows: u32,
    pub(super) columns: u32,
    pub(super) gradient: u64,
    pub(super) gradient_leading: u32,
    pub(super) momentum: u64,
    pub(super) weight: u64,
    pub(super) weight_leading: u32,
    pub(super) mapped: u64,
    pub(super) group: u32,
    /// 0 where the kernel keeps none.
    pub(super) remainder: u64,
}

/// The table of matrices, and the number of their tiles.
pub(super) fn matrix_table(
    manifest: &Manifest,
    matrices: &[OnDevice],
) -> Result<(Vec<u8>, u32), String> {
    let table = manifest.table("Matrix")?;
    let (mut entries, mut first_tile) = (Vec::new(), 0);
    for matrix in matrices {
        let mut values = vec![
            ("gradient", Value::Pointer(matrix.gradient)),
            ("momentum", Value::Pointer(matrix.momentum)),
            ("weight", Value::Pointer(matrix.weight)),
            ("mapped", Value::Pointer(matrix.mapped)),
            ("rows", Value::U32(matrix.rows)),
            ("columns", Value::U32(matrix.columns)),
            ("gradient_leading", Value::U32(matrix.gradient_leading)),
            ("weight_leading", Value::U32(matrix.weight_leading)),
            ("first_tile", Value::U32(first_tile)),
            ("group", Value::U32(matrix.group)),
            ("factor", Value::F32(f32::NAN)),
            ("largest", Value::F32(f32::NAN)),
        ];
        if table.fields.iter().any(|field| field.name == "remainder") {
            values.push(("remainder", Value::Pointer(matrix.remainder)));
        }
        append(table, &values, &mut entries)?;
        first_tile += manifest.tiles(matrix.rows, matrix.columns);
    }
    Ok((entries, first_tile))
}

/// The table of groups.
pub(super) fn group_table(manifest: &Manifest, groups: &[GroupScalars]) -> Result<Vec<u8>, String> {
    let table = manifest.table("Group")?;
    let mut entries = Vec::new();
    for group in groups {
        let rule = match group.scale {
            ScaleRule::Exact => 0,
            ScaleRule::Paper => 1,
            ScaleRule::Original => 2,
            ScaleRule::MatchRmsAdamW => 3,
            ScaleRule::None => 4,
        };
        let values = [
            ("learning_rate", Value::F32(group.learning_rate)),
            ("weight_decay", Value::F32(group.weight_decay)),
            ("mu", Value::F32(group.mu)),
            ("c", Value::F32(group.c)),
            ("alpha", Value::F32(group.alpha)),
            ("beta", Value::F32(group.beta)),
            ("scale_factor", Value::F32(group.scale_factor)),
            ("scale_rule", Value::U32(rule)),
        ];
        append(table, &values, &mut entries)?;
    }
    Ok(entries)
}

/// The report of one tile.
pub(super) fn diagnosed(
    manifest: &Manifest,
    reports: &[u8],
    tile: usize,
) -> Result<TileDiagnostics, String> {
    let table = manifest.table("TileReport")?;
    let field = |name: &str| word(table, reports, tile, name);
    let flags = field("flags")?;
    Ok(TileDiagnostics {
        norm: f32::from_bits(field("norm")?),
        inner_product: f32::from_bits(field("inner_product")?),
        mapped_norm_squared: f32::from_bits(field("mapped_norm_squared")?),
        non_finite: flags & 1 != 0,
        orthogonalised: flags == 0,
    })
}
