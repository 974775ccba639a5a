//! Options of AdamW, and what a group of parameters is told at all.

use std::collections::BTreeMap;

use super::group::{LearningRate, MuonOptions};

/// Options of a group updated element by element by AdamW.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamWOptions {
    pub(crate) learning_rate: LearningRate,
    pub(crate) betas: (f64, f64),
    pub(crate) epsilon: f64,
    pub(crate) weight_decay: f64,
    pub(crate) decay_vectors: bool,
    pub(crate) master_weights: bool,
}

impl Default for AdamWOptions {
    /// Learning rate 1/20 of the optimizer's (1e-3 beside 0.02), betas (0.95, 0.95), eps 1e-8, decay 0.1 on
    /// everything but vectors and scalars.
    fn default() -> Self {
        AdamWOptions {
            learning_rate: LearningRate::Factor(0.05),
            betas: (0.95, 0.95),
            epsilon: 1e-8,
            weight_decay: 0.1,
            decay_vectors: false,
            master_weights: false,
        }
    }
}

impl AdamWOptions {
    /// A factor of the optimizer's learning rate, or a rate of the group's own.
    pub fn learning_rate(mut self, rate: LearningRate) -> Self {
        self.learning_rate = rate;
        self
    }

    /// Decays of the two moments, each in [0, 1).
    pub fn betas(mut self, first: f64, second: f64) -> Self {
        self.betas = (first, second);
        self
    }

    /// Added to the root of the second moment.
    pub fn epsilon(mut self, epsilon: f64) -> Self {
        self.epsilon = epsilon;
        self
    }

    /// Decoupled weight decay. lr wd must not pass 1.
    pub fn weight_decay(mut self, decay: f64) -> Self {
        self.weight_decay = decay;
        self
    }

    /// Whether norms, biases and other parameters of at most one dimension decay too.
    pub fn decay_vectors(mut self, decay: bool) -> Self {
        self.decay_vectors = decay;
        self
    }

    /// Whether f32 master weights are kept beside bf16 ones, as 16 bits an element of state: see
    /// [`master_weight`](crate::master_weight). Steps refuse weights of another type then.
    pub fn master_weights(mut self, kept: bool) -> Self {
        self.master_weights = kept;
        self
    }
}

/// What happens to a group of parameters.
#[derive(Clone, Debug)]
pub enum GroupOptions {
    /// Matrices are mapped tile by tile; parameters without a matrix go to AdamW.
    Muon(MuonOptions),
    /// Every parameter is updated element by element.
    AdamW(AdamWOptions),
}

impl From<MuonOptions> for GroupOptions {
    fn from(options: MuonOptions) -> Self {
        GroupOptions::Muon(options)
    }
}

impl From<AdamWOptions> for GroupOptions {
    fn from(options: AdamWOptions) -> Self {
        GroupOptions::AdamW(options)
    }
}

impl GroupOptions {
    /// Whether remainders of master weights are kept.
    pub(crate) fn master_weights(&self) -> bool {
        match self {
            GroupOptions::Muon(options) => {
                let first = options.specs.first();
                first.is_some_and(|spec| spec.storage.master_weights)
            }
            GroupOptions::AdamW(options) => options.master_weights,
        }
    }

    /// The options by name, as a state file records them.
    pub(crate) fn record(&self) -> BTreeMap<String, String> {
        let mut rows: Vec<(&str, String)> = match self {
            GroupOptions::AdamW(options) => vec![
                ("method", "adamw".to_owned()),
                ("learning_rate", format!("{:?}", options.learning_rate)),
                ("betas", format!("{:?}", options.betas)),
                ("epsilon", options.epsilon.to_string()),
                ("weight_decay", options.weight_decay.to_string()),
                ("decay_vectors", options.decay_vectors.to_string()),
            ],
            GroupOptions::Muon(options) => vec![
                ("method", "muon".to_owned()),
                (
                    "specs",
                    options
                        .specs
                        .iter()
                        .map(ToString::to_string)
                        .collect::<Vec<_>>()
                        .join("; "),
                ),
                ("learning_rate", format!("{:?}", options.learning_rate)),
                ("weight_decay", options.weight_decay.to_string()),
                ("momentum", options.momentum.to_string()),
                ("convention", format!("{:?}", options.convention)),
                ("nesterov", options.nesterov.to_string()),
                ("scale", format!("{:?}", options.scale)),
                ("scale_factor", options.scale_factor.to_string()),
                (
                    "row_normalisation",
                    format!("{:?}", options.row_normalisation),
                ),
                (
                    "layout",
                    format!("{:?}", options.layout.unwrap_or_default()),
                ),
                ("view", format!("{:?}", options.view)),
                (
                    "schedule",
                    options
                        .schedule
                        .as_ref()
                        .map_or_else(String::new, ToString::to_string),
                ),
            ],
        };
        match self {
            GroupOptions::AdamW(options) if options.master_weights => {
                rows.push(("master_weights", "true".to_owned()));
            }
            GroupOptions::Muon(options) if options.couples().0 => rows.extend([
                ("coarse_schedule", options.coarse.to_string()),
                ("coarse_factor", options.coarse_factor.to_string()),
                ("coarse_momentum", options.own_coarse_momentum().to_string()),
            ]),
            _ => {}
        }
        let named = |(name, value): (&str, String)| (name.to_owned(), value);
        rows.into_iter().map(named).collect()
    }
}
