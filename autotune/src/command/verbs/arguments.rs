//! Reading of arguments that several verbs take.

use himuon::templates::Tile;

/// The size of a matrix, as 768x3072.
pub(super) fn shape(text: &str) -> Result<(usize, usize), String> {
    match text.parse() {
        Ok(Tile::Sized { rows, columns }) if text.contains('x') && rows > 0 && columns > 0 => {
            Ok((rows as usize, columns as usize))
        }
        _ => Err("rows x columns, both at least 1, as 768x3072".to_owned()),
    }
}

/// A time, at most a day.
pub(super) fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.0..=86_400.0).contains(&seconds) => Ok(seconds),
        _ => Err("seconds from 0 to 86400".to_owned()),
    }
}

/// A factor of speed, at least 1.
pub(super) fn speedup(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(factor) if (1.0..=100.0).contains(&factor) => Ok(factor),
        _ => Err("a factor from 1 to 100, as 1.02".to_owned()),
    }
}
