//! The rows of the experiment.

use crate::session::Session;
use crate::settings::{CoarseChoice, OptimizerKind, RunSettings};

/// Rows that share a learning rate, which is chosen on one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Family {
    Muon,
    Tiles,
    Both,
    CoarseAlone,
    AdamW,
}

impl Family {
    /// Every family.
    #[cfg(test)]
    pub(super) const ALL: [Family; 5] = [
        Family::Muon,
        Family::Tiles,
        Family::Both,
        Family::CoarseAlone,
        Family::AdamW,
    ];

    /// The learning rates that are tried with the first seed.
    pub(super) fn rates(self) -> [f64; 3] {
        match self {
            Family::AdamW => [0.001, 0.002, 0.004],
            _ => [0.0025, 0.005, 0.01],
        }
    }
}

/// One way to train the matrices of the blocks.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) family: Family,
    /// `None`: the whole matrix, or AdamW.
    pub(super) tile: Option<u32>,
    pub(super) coarse: Option<CoarseChoice>,
    /// Whether it is run with every seed.
    pub(super) main: bool,
}

impl Row {
    fn plain(family: Family) -> Row {
        Row {
            family,
            tile: None,
            coarse: None,
            main: true,
        }
    }

    fn tiles(tile: u32) -> Row {
        Row {
            tile: Some(tile),
            ..Row::plain(Family::Tiles)
        }
    }

    fn coarse(tile: u32, rank: u32, fine: &str, refresh: u64) -> Row {
        Row {
            family: if fine == "none" {
                Family::CoarseAlone
            } else {
                Family::Both
            },
            tile: Some(tile),
            coarse: Some(CoarseChoice {
                rank,
                fine: fine.to_owned(),
                refresh,
            }),
            main: false,
        }
    }

    fn main(self) -> Row {
        Row { main: true, ..self }
    }

    /// The row on which a family's learning rate is chosen.
    pub(super) fn of_family(family: Family) -> Row {
        match family {
            Family::Muon | Family::AdamW => Row::plain(family),
            Family::Tiles => Row::tiles(64),
            Family::Both => Row::coarse(64, 32, "projected", 1).main(),
            Family::CoarseAlone => Row::coarse(64, 32, "none", 1).main(),
        }
    }

    /// The name in files and tables: `t64-r32-fused-every4`.
    pub(super) fn key(&self) -> String {
        let tile = match (self.family, self.tile) {
            (Family::Muon, _) => return "muon".to_owned(),
            (Family::AdamW, _) => return "adamw".to_owned(),
            (_, tile) => format!("t{}", tile.unwrap_or_default()),
        };
        match &self.coarse {
            None => tile,
            Some(CoarseChoice {
                rank,
                fine,
                refresh,
            }) => {
                let head = match self.family {
                    Family::CoarseAlone => format!("coarse-r{rank}"),
                    _ => format!("{tile}-r{rank}-{fine}"),
                };
                match refresh {
                    1 => head,
                    steps => format!("{head}-every{steps}"),
                }
            }
        }
    }

    /// The settings of a run.
    pub(super) fn settings(
        &self,
        session: &Session,
        rate: f64,
        rest: f64,
        seed: u64,
    ) -> RunSettings {
        let optimizer = match self.family {
            Family::Muon => OptimizerKind::Muon,
            Family::AdamW => OptimizerKind::AdamW,
            _ => OptimizerKind::HiMuon,
        };
        RunSettings {
            tile: self.tile.map(|tile| tile.to_string()),
            coarse: self.coarse.clone(),
            ..session.settings(optimizer, rate, rest, seed)
        }
    }
}

/// Every row, the ones that say most first.
pub(super) fn all() -> Vec<Row> {
    let mut rows = vec![
        Row::plain(Family::Muon),
        Row::coarse(64, 32, "projected", 1).main(),
        Row::tiles(64),
        Row::plain(Family::AdamW),
        Row::coarse(64, 32, "fused", 1).main(),
        Row::coarse(16, 32, "projected", 1).main(),
        Row::coarse(16, 32, "fused", 1).main(),
        Row::coarse(32, 32, "fused", 1).main(),
        Row::tiles(16),
        Row::tiles(32),
        Row::coarse(64, 32, "none", 1).main(),
    ];
    for (tile, fine) in [
        (64, "projected"),
        (64, "fused"),
        (16, "projected"),
        (16, "fused"),
    ] {
        rows.extend([8, 64, 16].map(|rank| Row::coarse(tile, rank, fine, 1)));
    }
    for refresh in [4, 16] {
        rows.extend(["projected", "fused"].map(|fine| Row::coarse(64, 32, fine, refresh)));
    }
    rows.extend([8, 16, 64].map(|rank| Row::coarse(64, rank, "none", 1)));
    rows.push(Row::tiles(1).main());
    rows.extend(["projected", "fused"].map(|fine| Row::coarse(1, 32, fine, 1)));
    for refresh in [4, 16] {
        rows.extend(["projected", "fused"].map(|fine| Row::coarse(16, 32, fine, refresh)));
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_row_has_its_own_key_and_every_family_its_row() {
        let rows = all();
        let keys: BTreeSet<_> = rows.iter().map(Row::key).collect();
        assert_eq!(keys.len(), rows.len());
        for family in Family::ALL {
            assert!(rows.contains(&Row::of_family(family)), "{family:?}");
        }
    }
}
