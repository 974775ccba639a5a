//! The text forms that errors and tables share.

use himuon_templates::Tile;

/// A tile as the attribute takes it: `128`, `(64, 256)`, `"full"`.
pub(crate) fn tile_text(tile: Tile) -> String {
    match tile {
        Tile::Full => "\"full\"".to_owned(),
        Tile::Sized { rows, columns } if rows == columns => rows.to_string(),
        Tile::Sized { rows, columns } => format!("({rows}, {columns})"),
    }
}

/// Bytes in the unit that people read, as in `12.0 MiB`.
pub(crate) fn bytes_text(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{bytes} B")
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}
