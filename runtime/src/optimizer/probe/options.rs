//! What the probe is told, and what it tells.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::optimizer::BuildError;
#[cfg(doc)]
use crate::optimizer::HiMuon;

/// What becomes of a reading.
pub type ProbeCallback = dyn Fn(&ProbeReading) + Send + Sync;

/// What a layer gets whose update has drifted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DriftPolicy {
    /// A warning.
    #[default]
    Warn,
    /// A warning, and from the next step on the next larger tile that its group declares.
    RaiseTile,
}

/// When the probe looks, and at how much.
#[derive(Clone)]
pub struct ProbeOptions {
    pub(super) every: u64,
    pub(super) tiles: usize,
    pub(super) whole_every: u64,
    pub(super) threshold: f64,
    pub(super) policy: DriftPolicy,
    pub(super) callback: Option<Arc<ProbeCallback>>,
}

/// What the probe saw of one matrix at one step, before it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProbeReading {
    /// The step's number, from 0.
    pub step: u64,
    /// Name of the parameter.
    pub parameter: String,
    /// Place in its stack of matrices; 0 for one matrix.
    pub matrix: usize,
    /// Its tile, as text.
    pub tile: String,
    /// How many tiles were looked at; those with a NaN or an infinity and those of zeros do not count.
    pub tiles: usize,
    /// Least and greatest ||M||_F of them.
    pub norms: (f64, f64),
    /// Mean of <X, O>^2/||O||_F^2, the squared cosine of update and momentum: at p = 0 ||X||_*^2/r, which is 1 for
    /// equal singular values and 1/r at rank 1.
    pub nuclear_rank: f64,
    /// p = 0: mean of |1 - ||O||_F^2/r|, r = min(h, w): what the recurrence leaves short, on tiles of low rank most.
    pub defect: Option<f64>,
    /// Cosine of the tiled update to that of the whole matrix, at the longer period; none otherwise, and where the
    /// tile is the matrix.
    pub whole_cosine: Option<f64>,
    /// The tile that the layer gets from the next step on, as text, where the policy raised it.
    pub raised_to: Option<String>,
}

impl Default for ProbeOptions {
    fn default() -> Self {
        ProbeOptions {
            every: 100,
            tiles: 4,
            whole_every: 1000,
            threshold: 0.4,
            policy: DriftPolicy::default(),
            callback: None,
        }
    }
}

impl ProbeOptions {
    /// Looks at a few tiles of every matrix each `steps` steps, from step 0 on.
    pub fn every(steps: u64) -> Self {
        ProbeOptions {
            every: steps,
            ..ProbeOptions::default()
        }
    }

    /// Tiles of each matrix to look at; other ones each time. 4 by default.
    pub fn tiles(mut self, tiles: usize) -> Self {
        self.tiles = tiles;
        self
    }

    /// Compares one matrix, in turn, with its whole map each `steps` steps (1000 by default; 0: never). That costs
    /// one step of full-matrix Muon on that matrix.
    pub fn whole_every(mut self, steps: u64) -> Self {
        self.whole_every = steps;
        self
    }

    /// A layer whose cosine to its whole map falls below this has drifted: it is named once, in the log and in
    /// [`HiMuon::warnings`]. 0.4 by default: noise alone gives 0.7, whatever the tile.
    pub fn threshold(mut self, cosine: f64) -> Self {
        self.threshold = cosine;
        self
    }

    /// What a layer gets that has drifted.
    pub fn on_drift(mut self, policy: DriftPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// Is called with every reading.
    pub fn callback(mut self, callback: impl Fn(&ProbeReading) + Send + Sync + 'static) -> Self {
        self.callback = Some(Arc::new(callback));
        self
    }

    pub(in crate::optimizer) fn check(&self) -> Result<(), BuildError> {
        let refuse = |option, found, expected| BuildError::Option {
            group: "(probe)".to_owned(),
            option,
            found,
            expected,
        };
        if self.every == 0 || self.tiles == 0 {
            let option = if self.every == 0 {
                "the period"
            } else {
                "the number of tiles"
            };
            return Err(refuse(option, 0.0, "at least 1"));
        }
        if !(-1.0..=1.0).contains(&self.threshold) {
            return Err(refuse(
                "the threshold",
                self.threshold,
                "a cosine, from -1 to 1",
            ));
        }
        Ok(())
    }
}

impl fmt::Debug for ProbeOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProbeOptions")
            .field("every", &self.every)
            .field("tiles", &self.tiles)
            .field("whole_every", &self.whole_every)
            .field("threshold", &self.threshold)
            .field("policy", &self.policy)
            .field("callback", &self.callback.is_some())
            .finish()
    }
}
