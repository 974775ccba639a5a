//! What kernels report of a tile.

use crate::launch::TileDiagnostics;

/// Bit of a report's flags: the tile was not finite.
const NON_FINITE: u32 = 1;
/// Bit of a report's flags: the criterion left the tile as it is.
const UNORTHOGONALISED: u32 = 2;

/// Reads an entry of the table of reports.
pub(super) fn diagnostics(report: &[u8]) -> TileDiagnostics {
    let word = |index: usize| {
        let at = 4 * index;
        u32::from_le_bytes([report[at], report[at + 1], report[at + 2], report[at + 3]])
    };
    let number = |index| f32::from_bits(word(index));
    TileDiagnostics {
        norm: number(0),
        inner_product: number(1),
        mapped_norm_squared: number(2),
        non_finite: word(3) & NON_FINITE != 0,
        orthogonalised: word(3) & (NON_FINITE | UNORTHOGONALISED) == 0,
    }
}
