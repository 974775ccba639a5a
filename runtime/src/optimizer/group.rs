//! What a group of parameters is told: the specifications of its layer config and the run-time options.

use std::borrow::Cow;
use std::fmt;

use himuon_templates::{Coarse, Fine, KernelSpec, Mode, Tile};

use super::coarse::{COARSE_FACTOR, COARSE_MOMENTUM, CoarseSchedule};
pub use super::group_options::{AdamWOptions, GroupOptions};
use crate::launch::{GroupScalars, ScaleRule};
pub use crate::reference::MomentumConvention;
use crate::registry::LayerConfig;
use crate::schedule::TileSchedule;

/// How a group's learning rate follows the optimizer's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LearningRate {
    /// This factor times the optimizer's learning rate: it follows every schedule.
    Factor(f64),
    /// This value, whatever [`HiMuon::set_learning_rate`](super::HiMuon::set_learning_rate) says.
    Own(f64),
}

impl fmt::Display for LearningRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LearningRate::Factor(factor) => write!(f, "{factor} times the optimizer's"),
            LearningRate::Own(_) => f.write_str("its own"),
        }
    }
}

impl LearningRate {
    pub(crate) fn resolve(self, base: f64) -> f64 {
        match self {
            LearningRate::Factor(factor) => factor * base,
            LearningRate::Own(rate) => rate,
        }
    }
}

/// How the rows and columns of a stored matrix relate to the layer's outputs and inputs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// Rows are outputs: torch, candle (the default).
    #[default]
    OutIn,
    /// Rows are inputs: burn, dense layers of flax. Tiles and scale rules are applied as if the matrix were transposed. Of
    /// convolutions the outputs are the first dimension all the same, as burn has them; those of flax must be turned.
    InOut,
}

/// Which matrices a parameter of three or more dimensions holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// Two dimensions: a matrix. Four or more: a convolution. Three could be either of the others: refused.
    Automatic,
    /// (out, in, kh, kw, ...) as one matrix out x (in kh kw ...).
    Convolution,
    /// (experts, ..., H, W) as a stack of H x W matrices, each on its own.
    Stack,
}

/// NorMuon's row normalisation (arXiv 2510.05491).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NorMuon {
    /// Decay of the row second moment.
    pub beta2: f32,
    /// Added to its root.
    pub epsilon: f32,
}

impl Default for NorMuon {
    fn default() -> Self {
        NorMuon {
            beta2: 0.95,
            epsilon: 1e-8,
        }
    }
}

/// Options of a group whose matrices are mapped tile by tile.
#[derive(Clone, Debug)]
pub struct MuonOptions {
    pub(crate) specs: Cow<'static, [KernelSpec]>,
    pub(crate) schedule: Option<TileSchedule>,
    pub(crate) learning_rate: LearningRate,
    pub(crate) weight_decay: f64,
    pub(crate) momentum: f64,
    pub(crate) convention: MomentumConvention,
    pub(crate) nesterov: bool,
    pub(crate) scale: ScaleRule,
    pub(crate) scale_factor: f64,
    pub(crate) row_normalisation: Option<NorMuon>,
    pub(crate) coarse: CoarseSchedule,
    pub(crate) coarse_factor: f64,
    pub(crate) coarse_momentum: Option<f64>,
    /// `None`: the builder's.
    pub(crate) layout: Option<Layout>,
    pub(crate) view: View,
    pub(crate) name_rules: bool,
}

impl MuonOptions {
    /// The specifications that `#[himuon(...)]` put on a layer's config, and the default options:
    /// the optimizer's learning rate, decay 0.1, heavy-ball Nesterov momentum of 0.95, scale
    /// [`ScaleRule::Exact`] with factor 0.2.
    pub fn of<C: LayerConfig>() -> Self {
        Self::from_cow(Cow::Borrowed(C::SPECS))
    }

    /// Specifications made at run time, one per tile that a schedule may use; the first is the default.
    pub fn specs(specs: impl IntoIterator<Item = KernelSpec>) -> Self {
        Self::from_cow(Cow::Owned(specs.into_iter().collect()))
    }

    /// The published HiMuon's own choices (arXiv 2606.27216): tile 512, its rounding points, scale
    /// 0.2 sqrt(T) for every tile, ragged or not.
    pub fn paper() -> Self {
        let spec = KernelSpec {
            mode: Mode::Reference,
            ..KernelSpec::new(Tile::square(512))
        };
        Self::specs([spec]).scale(ScaleRule::Paper)
    }

    fn from_cow(specs: Cow<'static, [KernelSpec]>) -> Self {
        MuonOptions {
            specs,
            schedule: None,
            learning_rate: LearningRate::Factor(1.0),
            weight_decay: 0.1,
            momentum: 0.95,
            convention: MomentumConvention::HeavyBall,
            nesterov: true,
            scale: ScaleRule::Exact,
            scale_factor: 0.2,
            row_normalisation: None,
            coarse: CoarseSchedule::default(),
            coarse_factor: COARSE_FACTOR,
            coarse_momentum: None,
            layout: None,
            view: View::Automatic,
            name_rules: true,
        }
    }

    /// Which declared tile holds at which step, instead of the optimizer's schedule.
    pub fn schedule(mut self, schedule: TileSchedule) -> Self {
        self.schedule = Some(schedule);
        self
    }

    /// A factor of the optimizer's learning rate, or a rate of the group's own.
    pub fn learning_rate(mut self, rate: LearningRate) -> Self {
        self.learning_rate = rate;
        self
    }

    /// Decoupled weight decay wd: W <- (1 - lr wd) W. lr wd must not pass 1.
    pub fn weight_decay(mut self, decay: f64) -> Self {
        self.weight_decay = decay;
        self
    }

    /// Momentum decay mu in [0, 1).
    pub fn momentum(mut self, mu: f64) -> Self {
        self.momentum = mu;
        self
    }

    /// How the gradient enters the buffer.
    pub fn convention(mut self, convention: MomentumConvention) -> Self {
        self.convention = convention;
        self
    }

    /// Whether the update looks one step ahead.
    pub fn nesterov(mut self, nesterov: bool) -> Self {
        self.nesterov = nesterov;
        self
    }

    /// How a mapped tile is scaled. With a power above 0, or with row normalisation, no rule is read: the update of each matrix
    /// is brought to the root mean square `scale_factor`.
    pub fn scale(mut self, rule: ScaleRule) -> Self {
        self.scale = rule;
        self
    }

    /// The factor of the scale rules, 0.2 by default.
    pub fn scale_factor(mut self, factor: f64) -> Self {
        self.scale_factor = factor;
        self
    }

    /// Normalises the rows of the mapped matrix by their second moment (NorMuon).
    pub fn row_normalisation(mut self, settings: NorMuon) -> Self {
        self.row_normalisation = Some(settings);
        self
    }

    /// When the basis of the coarse part moves, and with which rank; by default every step, with the specification's
    /// own rank. Without effect on specifications without a coarse part.
    pub fn coarse_schedule(mut self, schedule: CoarseSchedule) -> Self {
        self.coarse = schedule;
        self
    }

    /// Whether f32 master weights are kept beside bf16 ones, by all specifications: `master_weights` of the attribute.
    pub fn master_weights(mut self, kept: bool) -> Self {
        for spec in self.specs.to_mut() {
            spec.storage.master_weights = kept;
        }
        self
    }

    /// The factor of the coarse part beside the tiles, 0.5 by default: with it both train better than with 1, where the
    /// coarse part is what Muon makes of the directions that it holds (`docs/two-levels.md` has the measurements).
    /// Without effect where there are no tiles beside it.
    pub fn coarse_factor(mut self, factor: f64) -> Self {
        self.coarse_factor = factor;
        self
    }

    /// The momentum mu' of what the coarse part holds, by default the smaller of 0.8 and that of all, mu. Where they differ
    /// the step ends with `buf <- buf - d captured(m)`, d = (1 - mu'/mu) / mu with Nesterov and 1 - mu'/mu without: what
    /// was in the buffer decays by mu' there, and the new gradient stays with 1 - d (1 + mu) of its weight (1 - d without
    /// Nesterov). From mu / (1 + mu), where nothing of it stays, to below 1; from 0 without Nesterov. Without effect where
    /// there are no tiles beside the coarse part. `docs/two-levels.md` has measurements.
    pub fn coarse_momentum(mut self, momentum: f64) -> Self {
        self.coarse_momentum = Some(momentum);
        self
    }

    /// Whether rows are outputs or inputs; as [`HiMuonBuilder::layout`](super::HiMuonBuilder::layout) says by default.
    pub fn layout(mut self, layout: Layout) -> Self {
        self.layout = Some(layout);
        self
    }

    /// What a parameter of three or more dimensions holds.
    pub fn view(mut self, view: View) -> Self {
        self.view = view;
        self
    }

    /// Maps every matrix that the pattern matches, embeddings and heads by name too.
    pub fn every_matrix(mut self) -> Self {
        self.name_rules = false;
        self
    }

    /// The scalars of a step: both conventions, with and without Nesterov, as one form.
    pub(crate) fn scalars(&self, learning_rate: f64) -> GroupScalars {
        let mu = self.momentum;
        let c = match self.convention {
            MomentumConvention::HeavyBall => 1.0,
            MomentumConvention::MovingAverage => 1.0 - mu,
        };
        let (alpha, beta) = if self.nesterov { (c, mu) } else { (0.0, 1.0) };
        GroupScalars {
            learning_rate: learning_rate as f32,
            weight_decay: self.weight_decay as f32,
            mu: mu as f32,
            c: c as f32,
            alpha: alpha as f32,
            beta: beta as f32,
            scale_factor: self.scale_factor as f32,
            scale: self.scale,
            coarse_factor: self.coarse_factor as f32,
            captured_decay: self.captured_decay() as f32,
        }
    }

    /// What is taken of the captured part of m = alpha g + beta buf, so that the momentum before the step decays there by
    /// a rate of its own.
    fn captured_decay(&self) -> f64 {
        let beta = if self.nesterov { self.momentum } else { 1.0 };
        if self.momentum > 0.0 {
            (1.0 - self.own_coarse_momentum() / self.momentum) / beta
        } else {
            0.0
        }
    }

    /// Whether a specification has a coarse part, and whether one has tiles beside it.
    pub(super) fn couples(&self) -> (bool, bool) {
        let parts = || self.specs.iter().map(|spec| spec.coarse);
        let beside = |coarse| matches!(coarse, Coarse::Polar { fine, .. } if fine != Fine::Nothing);
        (parts().any(|coarse| coarse.rank() > 0), parts().any(beside))
    }

    /// The momentum of what the coarse part holds.
    pub(super) fn own_coarse_momentum(&self) -> f64 {
        self.coarse_momentum
            .unwrap_or(COARSE_MOMENTUM.min(self.momentum))
    }

    /// MiMuon's unorthogonalised branch is the momentum itself, whose size the heavy ball multiplies by
    /// 1 / (1 - mu).
    pub(crate) fn mimuon_warning(&self, pattern: &str) -> Option<String> {
        let mut specs = self.specs.iter();
        let bare_momentum = specs.any(|spec| spec.criterion.leaves_momentum());
        let warned = bare_momentum && self.convention == MomentumConvention::HeavyBall;
        warned.then(|| {
            format!(
                "group {pattern}: a tile that fails the criterion is updated by the momentum itself, which MiMuon \
                 defines for the moving average; the heavy ball makes it up to {:.0} times larger. Use \
                 the moving average, or the RMS-matched alternative",
                1.0 / (1.0 - self.momentum)
            )
        })
    }
}
