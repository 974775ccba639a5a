//! Tiles over time, as the command line writes them.

use himuon::Tile;
use himuon::schedule::{ScheduleError, TileSchedule};
use std::fmt;
use std::str::FromStr;

/// A tile schedule in text form: `0:full,50:64`, `64+full/5` or `64+full/5*0.5`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ScheduleText {
    text: String,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    List(Vec<(u64, Tile)>),
    Periodic {
        tile: Tile,
        every: Tile,
        period: u64,
        factor: f64,
    },
}

const EXPECTED: &str =
    "steps and tiles (0:full,50:64), or a tile and a periodic one (64+full/5, 64+full/5*0.5)";

impl FromStr for ScheduleText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let kind = match text.split_once('+') {
            Some((tile, rest)) => periodic(tile, rest),
            None => text
                .split(',')
                .map(entry)
                .collect::<Option<_>>()
                .map(Kind::List),
        };
        let schedule = Self {
            text: text.to_owned(),
            kind: kind.ok_or_else(|| format!("expected {EXPECTED}"))?,
        };
        schedule.schedule().map_err(|error| error.to_string())?;
        Ok(schedule)
    }
}

fn entry(text: &str) -> Option<(u64, Tile)> {
    let (step, tile) = text.split_once(':')?;
    Some((step.trim().parse().ok()?, tile.trim().parse().ok()?))
}

fn periodic(tile: &str, rest: &str) -> Option<Kind> {
    let (every, rest) = rest.split_once('/')?;
    let (period, factor) = rest.split_once('*').unwrap_or((rest, "1"));
    Some(Kind::Periodic {
        tile: tile.trim().parse().ok()?,
        every: every.trim().parse().ok()?,
        period: period.trim().parse().ok()?,
        factor: factor.trim().parse().ok()?,
    })
}

impl ScheduleText {
    /// The schedule.
    pub(crate) fn schedule(&self) -> Result<TileSchedule, ScheduleError> {
        match &self.kind {
            Kind::List(entries) => TileSchedule::list(entries.iter().copied()),
            Kind::Periodic {
                tile,
                every,
                period,
                factor,
            } => TileSchedule::periodic(*tile, *every, *period, *factor),
        }
    }

    /// Every tile that the schedule uses, each once.
    pub(crate) fn tiles(&self) -> Vec<Tile> {
        let named = match &self.kind {
            Kind::List(entries) => entries.iter().map(|(_, tile)| *tile).collect(),
            Kind::Periodic { tile, every, .. } => vec![*tile, *every],
        };
        let mut tiles = Vec::new();
        for tile in named {
            if !tiles.contains(&tile) {
                tiles.push(tile);
            }
        }
        tiles
    }
}

impl fmt::Display for ScheduleText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read() {
        let list: ScheduleText = "0:full,50:64,80:full".parse().unwrap();
        assert_eq!(list.tiles(), [Tile::Full, Tile::square(64)]);
        assert_eq!(
            list.schedule().unwrap().phase(60).tile,
            Some(Tile::square(64))
        );
        let periodic: ScheduleText = "64x32+full/5*0.5".parse().unwrap();
        let schedule = periodic.schedule().unwrap();
        assert_eq!(
            (
                schedule.phase(5).tile,
                schedule.phase(5).learning_rate_factor
            ),
            (Some(Tile::Full), 0.5)
        );
        assert_eq!(
            schedule.phase(6).tile,
            Some(Tile::Sized {
                rows: 64,
                columns: 32
            })
        );
    }

    #[test]
    fn everything_else_is_refused() {
        for text in [
            "",
            "64",
            "10:64",
            "0:64,0:32",
            "64+full",
            "64+full/0",
            "64+full/5*x",
            "0:64;5:32",
        ] {
            assert!(text.parse::<ScheduleText>().is_err(), "{text}");
        }
    }
}
