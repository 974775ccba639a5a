//! Reading of arguments that several verbs take.

use crate::workload::elements;
use himuon::templates::Tile;

/// Most threads that are started for each one that the machine has: more only wait for each other.
const MOST_FOR_ONE: usize = 8;

/// The size of a matrix, as 768x3072.
pub(super) fn shape(text: &str) -> Result<(usize, usize), String> {
    let shape = match text.parse() {
        Ok(Tile::Sized { rows, columns }) if text.contains('x') && rows > 0 && columns > 0 => {
            (rows as usize, columns as usize)
        }
        _ => return Err("rows x columns, both at least 1, as 768x3072".to_owned()),
    };
    elements([shape]).map(|_| shape)
}

/// A number of threads; 0: all.
pub(super) fn threads(text: &str) -> Result<usize, String> {
    let here = std::thread::available_parallelism().map_or(1, usize::from);
    let most = MOST_FOR_ONE * here;
    match text.parse() {
        Ok(threads) if threads <= most => Ok(threads),
        _ => Err(format!(
            "a number from 0 (all) to {most}, {MOST_FOR_ONE} for each of the {here} that this machine has"
        )),
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
