//! The rows of the experiment.

use crate::session::Session;
use crate::settings::{CoarseChoice, OptimizerKind, RunSettings};
use anyhow::{Context, Result};

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
    /// With NorMuon's row normalisation.
    pub(super) row_normalised: bool,
    /// The momentum where it is not the optimizer's own.
    pub(super) momentum: Option<f64>,
    /// Whether it is run with every seed.
    pub(super) main: bool,
}

impl Row {
    fn plain(family: Family) -> Row {
        Row {
            family,
            tile: None,
            coarse: None,
            row_normalised: false,
            momentum: None,
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
                feed_forward_rank: None,
                factor: None,
                momentum: None,
            }),
            row_normalised: false,
            momentum: None,
            main: false,
        }
    }

    /// Rank `feed_forward` in the feed-forward part, `attention` in attention.
    fn ranks_by_layer(tile: u32, (attention, feed_forward): (u32, u32), fine: &str) -> Row {
        let mut row = Row::coarse(tile, attention, fine, 1);
        if let Some(coarse) = &mut row.coarse {
            coarse.feed_forward_rank = Some(feed_forward);
        }
        row
    }

    /// With a factor of the coarse part.
    fn scaled(mut self, factor: f64) -> Row {
        if let Some(coarse) = &mut self.coarse {
            coarse.factor = Some(factor);
        }
        self
    }

    /// With another momentum of what the coarse part holds.
    fn coarse_momentum(mut self, momentum: f64) -> Row {
        if let Some(coarse) = &mut self.coarse {
            coarse.momentum = Some(momentum);
        }
        self
    }

    /// With another momentum of all.
    fn momentum(self, momentum: f64) -> Row {
        Row {
            momentum: Some(momentum),
            ..self
        }
    }

    fn row_normalised(self) -> Row {
        Row {
            row_normalised: true,
            ..self
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
        let mut key = match (self.family, self.tile) {
            (Family::Muon, _) => "muon".to_owned(),
            (Family::AdamW, _) => "adamw".to_owned(),
            (Family::CoarseAlone, _) => "coarse".to_owned(),
            (_, tile) => format!("t{}", tile.unwrap_or_default()),
        };
        if let Some(coarse) = &self.coarse {
            key += &format!("-r{}", coarse.rank);
            if let Some(rank) = coarse.feed_forward_rank {
                key += &format!("+{rank}");
            }
            if self.family != Family::CoarseAlone {
                key += &format!("-{}", coarse.fine);
            }
            if coarse.refresh != 1 {
                key += &format!("-every{}", coarse.refresh);
            }
            if let Some(factor) = coarse.factor {
                key += &format!("-x{factor}");
            }
            if let Some(momentum) = coarse.momentum {
                key += &format!("-cmu{momentum}");
            }
        }
        if let Some(momentum) = self.momentum {
            key += &format!("-mu{momentum}");
        }
        if self.row_normalised {
            key += "-normuon";
        }
        key
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
        let mut settings = RunSettings {
            tile: self.tile.map(|tile| tile.to_string()),
            coarse: self.coarse.clone(),
            ..session.settings(optimizer, rate, rest, seed)
        };
        settings.choices.row_normalisation = self.row_normalised;
        settings.choices.momentum = self.momentum;
        settings
    }
}

/// The rows of these names with every seed; all rows of the table where none is named.
pub(super) fn chosen(names: &[String]) -> Result<Vec<Row>> {
    if names.is_empty() {
        return Ok(all());
    }
    let known: Vec<Row> = all().into_iter().chain(others()).collect();
    names
        .iter()
        .map(|name| {
            let found = known.iter().find(|row| row.key() == *name);
            found.map(|row| row.clone().main()).with_context(|| {
                let keys: Vec<String> = known.iter().map(Row::key).collect();
                format!("there is no row {name}; the rows are {}", keys.join(", "))
            })
        })
        .collect()
}

/// The rows of the table, the ones that say most first.
pub(super) fn all() -> Vec<Row> {
    let fused = |rank, refresh| Row::coarse(32, rank, "fused", refresh);
    let halved = |tile| Row::coarse(tile, 32, "fused", 1).scaled(0.5);
    vec![
        Row::plain(Family::Muon),
        Row::plain(Family::Muon).momentum(0.9),
        halved(64).coarse_momentum(0.8).main(),
        halved(32).coarse_momentum(0.8).main(),
        halved(16).coarse_momentum(0.8).main(),
        halved(64).main(),
        halved(32).main(),
        halved(16).main(),
        Row::tiles(64),
        Row::tiles(32),
        Row::tiles(16),
        Row::plain(Family::AdamW),
        Row::of_family(Family::Both),
        fused(32, 1).main(),
        Row::coarse(16, 32, "fused", 1).main(),
        fused(8, 1),
        fused(16, 1),
        fused(64, 1),
        fused(32, 4),
        fused(32, 1).scaled(0.7),
        fused(32, 1).scaled(0.35),
        fused(16, 1).scaled(0.5),
        fused(64, 1).scaled(0.5),
        Row::coarse(64, 32, "fused", 1),
        Row::coarse(16, 32, "projected", 1),
        Row {
            main: false,
            ..Row::tiles(1)
        },
        Row::coarse(1, 32, "fused", 1),
        Row {
            main: false,
            ..Row::of_family(Family::CoarseAlone)
        },
        Row {
            main: false,
            ..Row::plain(Family::Muon).row_normalised()
        },
        fused(32, 1).row_normalised(),
        Row::ranks_by_layer(32, (16, 48), "fused"),
        Row::ranks_by_layer(32, (48, 16), "fused"),
    ]
}

/// Rows that are trained when they are named.
fn others() -> Vec<Row> {
    let mut rows = vec![
        Row::tiles(32).row_normalised(),
        Row::coarse(32, 96, "fused", 1),
    ];
    for tile in [16, 64] {
        for fine in ["projected", "fused"] {
            rows.extend([8, 16, 64].map(|rank| Row::coarse(tile, rank, fine, 1)));
            rows.extend([4, 16].map(|refresh| Row::coarse(tile, 32, fine, refresh)));
        }
    }
    rows.extend([8, 16, 64].map(|rank| Row::coarse(64, rank, "none", 1)));
    rows.extend([8, 16, 64].map(|rank| Row::coarse(32, rank, "projected", 1)));
    rows.push(Row::coarse(32, 32, "projected", 1));
    rows.push(Row::coarse(32, 32, "fused", 16));
    rows.push(Row::coarse(32, 8, "fused", 1).scaled(0.5));
    rows.push(Row::coarse(64, 32, "projected", 1).scaled(0.5));
    rows.push(Row::coarse(1, 32, "fused", 1).scaled(0.5));
    for tile in [16, 32, 64] {
        let row = Row::coarse(tile, 32, "fused", 1).scaled(0.5);
        rows.push(row.clone().momentum(0.9));
        let projected = Row::coarse(tile, 32, "projected", 1).scaled(0.5);
        rows.push(projected.coarse_momentum(0.8));
        rows.extend([0.9, 0.7, 0.6, 0.5].map(|momentum| row.clone().coarse_momentum(momentum)));
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_row_has_its_own_key_and_every_family_its_row() {
        let rows: Vec<Row> = all().into_iter().chain(others()).collect();
        let keys: BTreeSet<_> = rows.iter().map(Row::key).collect();
        assert_eq!(keys.len(), rows.len());
        for key in [
            "t64-r32-fused-every4",
            "coarse-r8",
            "t32-r16+48-fused",
            "t32-r32-fused-x0.5",
            "muon-normuon",
        ] {
            assert!(keys.contains(key), "{key} of {keys:?}");
            assert_eq!(chosen(&[key.to_owned()]).unwrap()[0].key(), key);
        }
        assert!(
            chosen(&["t7".to_owned()])
                .unwrap_err()
                .to_string()
                .contains("t64-r8-fused")
        );
        for family in Family::ALL {
            assert!(keys.contains(&Row::of_family(family).key()), "{family:?}");
        }
    }
}
