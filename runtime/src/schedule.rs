//! Which tile a group uses at which step.

use std::fmt;
use std::sync::Arc;

use himuon_templates::{KernelSpec, Tile};

use crate::optimizer::CoarsePhase;
use crate::text::tile_text;

/// What a schedule says about one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Phase {
    /// The tile of the step; `None`: the first that the group declares.
    pub tile: Option<Tile>,
    /// Multiplies the group's learning rate at this step.
    pub learning_rate_factor: f64,
}

impl Phase {
    /// A tile at the group's own learning rate.
    pub const fn tile(tile: Tile) -> Self {
        Phase {
            tile: Some(tile),
            learning_rate_factor: 1.0,
        }
    }
}

/// A phase in terms of what a group declares.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct GroupPhase {
    /// Place of the specification among the declared ones.
    pub(crate) spec: usize,
    /// Multiplies the group's learning rate.
    pub(crate) learning_rate_factor: f64,
    /// The coarse part at this step.
    pub(crate) coarse: CoarsePhase,
}

impl GroupPhase {
    /// The first specification at the group's own learning rate.
    pub(crate) const DECLARED: GroupPhase = GroupPhase {
        spec: 0,
        learning_rate_factor: 1.0,
        coarse: CoarsePhase::DECLARED,
    };
}

/// A function from the step (the first is 0) to its phase.
pub type PhaseFunction = dyn Fn(u64) -> Phase + Send + Sync;

/// The tile of a group as a function of the training step. Steps count from 0.
///
/// Every tile that a schedule names must be declared by the group's layer config
/// (`#[himuon(tiles = ["full", 128])]`); one that is not is an error before the step.
///
/// ```
/// use himuon::{Tile, schedule::TileSchedule};
/// // Tiles of 128 with a full-matrix step every fifth step, at half the learning rate.
/// let schedule = TileSchedule::periodic(Tile::square(128), Tile::Full, 5, 0.5)?;
/// assert_eq!(schedule.phase(0).tile, Some(Tile::Full));
/// assert_eq!(schedule.phase(1).tile, Some(Tile::square(128)));
/// assert_eq!(schedule.phase(5).learning_rate_factor, 0.5);
/// # Ok::<(), himuon::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct TileSchedule(Kind);

#[derive(Clone, Default)]
enum Kind {
    #[default]
    Declared,
    Constant(Tile),
    List(Vec<(u64, Tile)>),
    Periodic {
        tile: Tile,
        every: Tile,
        period: u64,
        factor: f64,
    },
    Function(Arc<PhaseFunction>),
}

/// Why a schedule is refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ScheduleError {
    /// A tile that the group's config does not declare.
    #[error(
        "group {group}: the schedule asks for tile {tile} at step {step}, but declared are {declared}; declare a specification of \
         it too, in Rust as in #[himuon(tiles = [{declared}, {tile}])]"
    )]
    UndeclaredTile {
        /// Name pattern of the group.
        group: String,
        /// The step.
        step: u64,
        /// The tile.
        tile: String,
        /// The declared tiles.
        declared: String,
    },
    /// A list without entries, or not starting at step 0, or not ascending.
    #[error(
        "a schedule's list starts at step 0 and ascends, found steps {found:?}; \
         give one (step, tile) pair per change, the first at step 0"
    )]
    List {
        /// The steps of the list.
        found: Vec<u64>,
    },
    /// A period of 0.
    #[error(
        "a schedule's period is at least 1, found 0; for no periodic steps declare no schedule"
    )]
    Period,
    /// A learning-rate factor that is not a finite number at least 0.
    #[error("a learning-rate factor is finite and at least 0, found {found} at step {step}")]
    Factor {
        /// The factor.
        found: f64,
        /// The step, 0 for a factor that holds at every periodic step.
        step: u64,
    },
}

impl TileSchedule {
    /// One tile at every step.
    pub const fn constant(tile: Tile) -> Self {
        TileSchedule(Kind::Constant(tile))
    }

    /// Each `(step, tile)` holds from its step until the next.
    ///
    /// # Errors
    /// An empty list, one that does not start at step 0, steps that do not ascend.
    pub fn list(entries: impl IntoIterator<Item = (u64, Tile)>) -> Result<Self, ScheduleError> {
        let entries: Vec<_> = entries.into_iter().collect();
        let starts = entries.first().is_some_and(|(step, _)| *step == 0);
        let ascends = entries.windows(2).all(|pair| pair[0].0 < pair[1].0);
        if !(starts && ascends) {
            let found = entries.iter().map(|(step, _)| *step).collect();
            return Err(ScheduleError::List { found });
        }
        Ok(TileSchedule(Kind::List(entries)))
    }

    /// `tile`, and `every` at the steps 0, `period`, 2 `period`, ... with the learning rate multiplied by
    /// `factor` there: MuonBP (arXiv 2510.16981) repairs what always-local blocks lose at scale by periodic
    /// full steps with a learning rate of their own.
    ///
    /// # Errors
    /// A period of 0; a factor that is not finite and at least 0.
    pub fn periodic(
        tile: Tile,
        every: Tile,
        period: u64,
        factor: f64,
    ) -> Result<Self, ScheduleError> {
        if period == 0 {
            return Err(ScheduleError::Period);
        }
        check_factor(factor, 0)?;
        Ok(TileSchedule(Kind::Periodic {
            tile,
            every,
            period,
            factor,
        }))
    }

    /// Any function of the step. It must give the same answer for the same step: a resumed run asks again.
    pub fn function(function: impl Fn(u64) -> Phase + Send + Sync + 'static) -> Self {
        TileSchedule(Kind::Function(Arc::new(function)))
    }

    /// What holds at `step`.
    pub fn phase(&self, step: u64) -> Phase {
        match &self.0 {
            Kind::Declared => Phase {
                tile: None,
                learning_rate_factor: 1.0,
            },
            Kind::Constant(tile) => Phase::tile(*tile),
            Kind::List(entries) => {
                let after = entries.partition_point(|(from, _)| *from <= step);
                Phase::tile(entries[after.saturating_sub(1)].1)
            }
            Kind::Periodic {
                every,
                period,
                factor,
                ..
            } if step.is_multiple_of(*period) => Phase {
                tile: Some(*every),
                learning_rate_factor: *factor,
            },
            Kind::Periodic { tile, .. } => Phase::tile(*tile),
            Kind::Function(function) => function(step),
        }
    }

    /// Every tile that the schedule will ask for, each with the first step that does;
    /// empty where only the steps themselves can tell.
    fn known_tiles(&self) -> Vec<(u64, Tile)> {
        match &self.0 {
            Kind::Declared | Kind::Function(_) => Vec::new(),
            Kind::Constant(tile) => vec![(0, *tile)],
            Kind::List(entries) => entries.clone(),
            Kind::Periodic {
                tile,
                every,
                period,
                ..
            } => {
                let mut tiles = vec![(0, *every)];
                if *period > 1 {
                    tiles.push((1, *tile));
                }
                tiles
            }
        }
    }

    /// The first steps of the tiles that are known before.
    pub(crate) fn known_steps(&self) -> Vec<u64> {
        let known = self.known_tiles().into_iter();
        known.map(|(step, _)| step).collect()
    }

    /// Refuses a tile that `declared` lacks, as far as it can be known before the first step.
    pub(crate) fn check(&self, group: &str, declared: &[KernelSpec]) -> Result<(), ScheduleError> {
        for (step, tile) in self.known_tiles() {
            find(group, step, tile, declared)?;
        }
        Ok(())
    }

    /// What a group does at `step`.
    pub(crate) fn resolve(
        &self,
        group: &str,
        step: u64,
        declared: &[KernelSpec],
    ) -> Result<GroupPhase, ScheduleError> {
        let phase = self.phase(step);
        check_factor(phase.learning_rate_factor, step)?;
        let spec = match phase.tile {
            None => 0,
            Some(tile) => find(group, step, tile, declared)?,
        };
        Ok(GroupPhase {
            spec,
            learning_rate_factor: phase.learning_rate_factor,
            coarse: CoarsePhase::DECLARED,
        })
    }
}

fn check_factor(factor: f64, step: u64) -> Result<(), ScheduleError> {
    if factor.is_finite() && factor >= 0.0 {
        Ok(())
    } else {
        Err(ScheduleError::Factor {
            found: factor,
            step,
        })
    }
}

fn find(
    group: &str,
    step: u64,
    tile: Tile,
    declared: &[KernelSpec],
) -> Result<usize, ScheduleError> {
    declared
        .iter()
        .position(|spec| spec.tile == tile)
        .ok_or_else(|| {
            let declared: Vec<_> = declared.iter().map(|spec| tile_text(spec.tile)).collect();
            ScheduleError::UndeclaredTile {
                group: group.to_owned(),
                step,
                tile: tile_text(tile),
                declared: declared.join(", "),
            }
        })
}

impl fmt::Display for TileSchedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Declared => f.write_str("the declared tile"),
            Kind::Constant(tile) => write!(f, "tile {}", tile_text(*tile)),
            Kind::List(entries) => {
                let entries: Vec<_> = entries
                    .iter()
                    .map(|(step, tile)| format!("{} from step {step}", tile_text(*tile)))
                    .collect();
                f.write_str(&entries.join(", "))
            }
            Kind::Periodic {
                tile,
                every,
                period,
                factor,
            } => write!(
                f,
                "tile {}, {} every {period} steps at {factor} times the learning rate",
                tile_text(*tile),
                tile_text(*every)
            ),
            Kind::Function(_) => f.write_str("a function of the step"),
        }
    }
}

impl fmt::Debug for TileSchedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TileSchedule({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared() -> Vec<KernelSpec> {
        vec![
            KernelSpec::new(Tile::square(64)),
            KernelSpec::new(Tile::Full),
        ]
    }

    #[test]
    fn a_list_holds_each_tile_until_the_next() {
        let schedule = TileSchedule::list([
            (0, Tile::square(64)),
            (3, Tile::Full),
            (5, Tile::square(64)),
        ])
        .unwrap();
        let chosen: Vec<_> = (0..7)
            .map(|step| schedule.resolve("g", step, &declared()).unwrap().spec)
            .collect();
        assert_eq!(chosen, [0, 0, 0, 1, 1, 0, 0]);
    }

    #[test]
    fn lists_that_do_not_ascend_from_zero_are_refused() {
        let tile = Tile::Full;
        assert!(TileSchedule::list([]).is_err());
        assert!(TileSchedule::list([(1, tile)]).is_err());
        assert!(TileSchedule::list([(0, tile), (4, tile), (4, tile)]).is_err());
    }

    #[test]
    fn periodic_steps_carry_their_own_factor() {
        let schedule = TileSchedule::periodic(Tile::square(64), Tile::Full, 3, 0.25).unwrap();
        let steps: Vec<_> = (0..5)
            .map(|step| schedule.resolve("g", step, &declared()).unwrap())
            .map(|phase| (phase.spec, phase.learning_rate_factor))
            .collect();
        assert_eq!(steps, [(1, 0.25), (0, 1.0), (0, 1.0), (1, 0.25), (0, 1.0)]);
        assert!(TileSchedule::periodic(Tile::Full, Tile::Full, 0, 1.0).is_err());
        assert!(TileSchedule::periodic(Tile::Full, Tile::Full, 2, f64::NAN).is_err());
    }

    #[test]
    fn an_undeclared_tile_names_the_declared_ones() {
        let error = TileSchedule::constant(Tile::square(32))
            .check("blocks.*", &declared())
            .unwrap_err();
        let text = error.to_string();
        for part in ["blocks.*", "tile 32", "64, \"full\""] {
            assert!(text.contains(part), "{text} lacks {part}");
        }
    }

    #[test]
    fn a_function_is_asked_at_each_step_and_its_factor_checked() {
        let schedule = TileSchedule::function(|step| Phase {
            tile: Some(Tile::Full),
            learning_rate_factor: if step == 2 { f64::NAN } else { 1.0 },
        });
        assert_eq!(schedule.resolve("g", 1, &declared()).unwrap().spec, 1);
        assert!(schedule.resolve("g", 2, &declared()).is_err());
    }
}
