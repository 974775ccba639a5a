//! Lists on the command line.

use himuon::Tile;
use himuon::diagnose::CriterionTest;
use himuon::templates::{Measure, Power};

/// Tiles as `16..512,full`: comma-separated, a range standing for its first edge, twice that, and so on.
///
/// # Errors
/// What was expected.
pub fn parse_tiles(text: &str) -> Result<Vec<Tile>, String> {
    let mut tiles = Vec::new();
    for part in text.split(',').map(str::trim) {
        let range = part.split_once("..");
        match range {
            Some((first, last)) => {
                let edge = |text: &str| match text.trim().parse() {
                    Ok(edge @ 1..) => Ok(edge),
                    _ => Err(format!("{part} is no range of edges such as 16..512")),
                };
                let (mut next, last): (u32, u32) = (edge(first)?, edge(last)?);
                if next > last {
                    return Err(format!("the range {part} runs backwards"));
                }
                while next <= last {
                    tiles.push(Tile::square(next));
                    let Some(doubled) = next.checked_mul(2) else {
                        break;
                    };
                    next = doubled;
                }
            }
            None => tiles.push(part.parse().map_err(|error| format!("{error}"))?),
        }
    }
    repeated(&tiles)?;
    Ok(tiles)
}

/// Powers as `0,1/3,1/2`.
///
/// # Errors
/// What was expected.
pub fn parse_powers(text: &str) -> Result<Vec<Power>, String> {
    let powers = text.split(',').map(|part| part.trim().parse::<Power>());
    let powers = powers
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| format!("{error}"))?;
    repeated(&powers)?;
    Ok(powers)
}

/// MiMuon's criteria as `effective_rank(0.1),min_gap(1e-6)`.
///
/// # Errors
/// What was expected.
pub fn parse_tests(text: &str) -> Result<Vec<CriterionTest>, String> {
    let test = |part: &str| {
        let (name, threshold) = part.trim().strip_suffix(')')?.split_once('(')?;
        let measure = match name.trim() {
            "fro_norm" => Measure::FroNorm,
            "effective_rank" => Measure::EffectiveRank,
            "nuclear_rank" => Measure::NuclearRank,
            "min_gap" => Measure::MinGap,
            _ => return None,
        };
        let threshold: f64 = threshold.trim().parse().ok()?;
        (threshold.is_finite() && threshold >= 0.0).then_some(CriterionTest { measure, threshold })
    };
    text.split(',')
        .map(|part| {
            test(part).ok_or_else(|| {
                format!(
                    "{part} is none of fro_norm(t), effective_rank(t), nuclear_rank(t) and min_gap(t), t at least 0"
                )
            })
        })
        .collect()
}

fn repeated<T: PartialEq + std::fmt::Display>(values: &[T]) -> Result<(), String> {
    let twice = values
        .iter()
        .enumerate()
        .find(|(place, value)| values[..*place].contains(value));
    match twice {
        Some((_, value)) => Err(format!("{value} is named twice")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_double() {
        let edges = |text: &str| -> Vec<String> {
            parse_tiles(text)
                .unwrap()
                .iter()
                .map(Tile::to_string)
                .collect()
        };
        assert_eq!(
            edges("16..100,64x256,full"),
            ["16", "32", "64", "64x256", "full"]
        );
        assert_eq!(edges("7"), ["7"]);
    }

    #[test]
    fn all_else_is_refused_with_its_reason() {
        for (text, reason) in [
            ("512..16", "backwards"),
            ("0..16", "range of edges"),
            ("16..x", "range of edges"),
            ("16..64,32", "32 is named twice"),
            ("", "tile"),
        ] {
            let error = parse_tiles(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
        assert!(parse_powers("0,1/2,0.5").unwrap_err().contains("twice"));
        assert!(parse_powers("2").is_err());
        assert!(parse_tests("min_gap(-1)").is_err());
        assert!(
            parse_tests("rank(0.1)")
                .unwrap_err()
                .contains("effective_rank(t)")
        );
        assert_eq!(parse_tests("min_gap(1e-6), fro_norm(2)").unwrap().len(), 2);
    }
}
