//! What decides the bits of a run.

use crate::corpus::BatchShape;
use crate::model::GptConfig;
use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};
use std::fmt;

/// HiMuon's and Muon's momentum where a run names no other.
pub(crate) const MOMENTUM: f64 = 0.95;

/// An optimizer to compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OptimizerKind {
    HiMuon,
    Muon,
    AdamW,
}

impl OptimizerKind {
    /// In the order of tables and plots.
    pub(crate) const ALL: [Self; 3] = [Self::HiMuon, Self::Muon, Self::AdamW];

    /// The name for people.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::HiMuon => "HiMuon",
            Self::Muon => "Muon",
            Self::AdamW => "AdamW",
        }
    }

    /// The name in files and on the command line.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::HiMuon => "himuon",
            Self::Muon => "muon",
            Self::AdamW => "adamw",
        }
    }
}

impl fmt::Display for OptimizerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.title())
    }
}

/// What a run does otherwise than the comparison of optimizers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Choices {
    /// Micro-batches of a step; 0 and 1: the batch as one.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) accumulate: usize,
    /// Steps between two probes of the tiles; 0: none.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) probe: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) nesterov: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) weight_decay: Option<f64>,
    /// The momentum where it is not [`MOMENTUM`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) momentum: Option<f64>,
    /// Rows of the update are normalised by their second moments (NorMuon).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) row_normalisation: bool,
    /// MiMuon's criterion as specifications write it: `nuclear_rank(0.3)`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) criterion: Option<String>,
    /// No figures of a coarse part: they cost a pass over the tiles.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) undiagnosed: bool,
    /// No decay of the learning rate.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) constant_rate: bool,
    /// Blocks of the text that are trained on; 0: all.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) training_blocks: usize,
}

fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Choices {
    fn none(&self) -> bool {
        *self == Self::default()
    }
}

/// The coarse part that couples the tiles of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct CoarseChoice {
    pub(crate) rank: u32,
    /// What the tiles add: `projected`, `fused` or `none`.
    pub(crate) fine: String,
    /// Steps from one refresh of the basis to the next.
    pub(crate) refresh: u64,
    /// The rank of the feed-forward part where it is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) feed_forward_rank: Option<u32>,
    /// Its factor beside the tiles where it is not 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) factor: Option<f64>,
    /// The momentum of what it holds where it is another than that of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) momentum: Option<f64>,
}

/// Learning rate of what is no matrix of a block, under AdamW beside whatever trains the matrices.
pub(crate) const REST_LEARNING_RATE: f64 = 2e-3;

/// One run. Two runs of equal settings on one machine give the same weights, bit for bit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct RunSettings {
    pub(crate) optimizer: OptimizerKind,
    pub(crate) learning_rate: f64,
    /// Learning rate of AdamW on what is not a matrix of a block.
    pub(crate) rest_learning_rate: f64,
    /// HiMuon's tile, schedule and power where they are not the layers' own.
    pub(crate) tile: Option<String>,
    pub(crate) schedule: Option<String>,
    pub(crate) power: Option<String>,
    /// HiMuon's coarse part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) coarse: Option<CoarseChoice>,
    pub(crate) model: GptConfig,
    pub(crate) batch: usize,
    pub(crate) steps: u64,
    pub(crate) seed: u64,
    pub(crate) text: String,
    #[serde(default, skip_serializing_if = "Choices::none")]
    pub(crate) choices: Choices,
}

impl RunSettings {
    /// Sequences and context of a batch.
    pub(crate) fn batch_shape(&self) -> BatchShape {
        BatchShape {
            sequences: self.batch,
            context: self.model.context,
        }
    }

    /// The learning rate relative to its first value at a step: linear decay to zero, unless it is constant.
    pub(crate) fn decay(&self, step: u64) -> f64 {
        if self.choices.constant_rate {
            1.0
        } else {
            1.0 - step as f64 / self.steps as f64
        }
    }

    /// Refuses settings other than those that a checkpoint was saved under, and names what differs.
    pub(crate) fn check_same(&self, saved: &Self) -> Result<()> {
        if self == saved {
            return Ok(());
        }
        let (now, then) = (serde_json::to_value(self)?, serde_json::to_value(saved)?);
        let differing: Vec<String> = now
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(key, value)| then[key.as_str()] != **value)
            .map(|(key, value)| format!("{key} is {value}, saved with {}", then[key.as_str()]))
            .collect();
        bail!(
            "the checkpoint belongs to another run: {}; give the same options, or train anew",
            differing.join("; ")
        )
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A run that takes milliseconds.
    pub(crate) fn small_settings(optimizer: OptimizerKind) -> RunSettings {
        RunSettings {
            optimizer,
            learning_rate: if optimizer == OptimizerKind::AdamW {
                2e-3
            } else {
                1e-2
            },
            rest_learning_rate: REST_LEARNING_RATE,
            tile: None,
            schedule: None,
            power: None,
            coarse: None,
            model: GptConfig {
                layers: 2,
                width: 32,
                heads: 2,
                context: 16,
            },
            batch: 4,
            steps: 8,
            seed: 3,
            text: "a text".into(),
            choices: Choices::default(),
        }
    }

    #[test]
    fn other_settings_are_named() {
        let settings = small_settings(OptimizerKind::HiMuon);
        let mut saved = settings.clone();
        assert!(settings.check_same(&saved).is_ok());
        saved.seed = 4;
        saved.model.layers = 1;
        let error = settings.check_same(&saved).unwrap_err().to_string();
        assert!(error.contains("seed is 3, saved with 4"), "{error}");
        assert!(error.contains("\"layers\":2"), "{error}");
        assert!(!error.contains("batch"), "{error}");
    }

    #[test]
    fn the_learning_rate_falls_to_zero() {
        let settings = small_settings(OptimizerKind::AdamW);
        assert_eq!(settings.decay(0), 1.0);
        assert_eq!(settings.decay(4), 0.5);
        assert_eq!(settings.decay(8), 0.0);
    }
}
