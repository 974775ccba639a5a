//! How much tuning does, and by which clock.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::error::TuningError;

/// How much tuning does before it chooses.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Nothing runs: the model's choice. Never kept as a measurement; of an entry, that nothing in it was timed.
    Estimate,
    /// The candidates that the model ranks first are verified and timed.
    #[default]
    Measure,
    /// All candidates are, for more rounds.
    Patient,
}

impl Level {
    /// Rounds before any candidate is dropped on statistical grounds: six give a 95 % interval of a median.
    pub(super) const fn fewest_rounds(self) -> usize {
        match self {
            Level::Estimate => 0,
            Level::Measure => 6,
            Level::Patient => 12,
        }
    }

    /// Rounds after which the order no longer changes.
    pub(super) const fn most_rounds(self) -> usize {
        match self {
            Level::Estimate => 0,
            Level::Measure => 40,
            Level::Patient => 200,
        }
    }

    /// How many of the ranked candidates are measured.
    pub(super) const fn candidates(self) -> usize {
        match self {
            Level::Estimate => 0,
            Level::Measure => 16,
            Level::Patient => usize::MAX,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Level::Estimate => "estimate",
            Level::Measure => "measure",
            Level::Patient => "patient",
        })
    }
}

impl FromStr for Level {
    type Err = TuningError;

    fn from_str(text: &str) -> Result<Self, TuningError> {
        [Level::Estimate, Level::Measure, Level::Patient]
            .into_iter()
            .find(|level| level.to_string() == text)
            .ok_or_else(|| TuningError::Word {
                what: "level",
                found: text.to_owned(),
                accepted: "estimate, measure or patient",
            })
    }
}

/// What times are read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Clock {
    /// The system's monotonic clock around a call.
    Monotonic,
    /// CUDA events around a launch.
    CudaEvents,
    /// The test clock of an emulated device. Kept in a file of its own and never used to choose a kernel.
    Emulated,
}
