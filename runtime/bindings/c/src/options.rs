//! Options of groups, with the defaults of the Rust library.

use himuon::optimizer::{self, LearningRate, MomentumConvention, NorMuon};

use crate::rules::{
    self, HIMUON_LAYOUT_OUT_IN, HIMUON_SCALE_EXACT, HIMUON_VIEW_AUTOMATIC, Layout, Scale, View,
};
use crate::sized::{Grows, PlaceOf};
use crate::status::{Failure, Status, guarded};

/// Options of a group whose matrices are mapped tile by tile. Begin with `himuon_muon_options_init`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct MuonOptions {
    /// Set by `himuon_muon_options_init`, and to be left.
    pub size: usize,
    /// Multiplies the optimizer's learning rate; without effect where `own_learning_rate` is not negative.
    pub learning_rate_factor: f64,
    /// A rate of the group's own; negative: the optimizer's.
    pub own_learning_rate: f64,
    /// Decoupled decay wd: W <- (1 - lr wd) W.
    pub weight_decay: f64,
    /// Momentum in [0, 1).
    pub momentum: f64,
    /// Whether the update looks one step ahead.
    pub nesterov: bool,
    /// Whether buf <- mu buf + (1 - mu) g instead of buf <- mu buf + g.
    pub moving_average: bool,
    /// Whether embeddings and heads, known by name, are mapped too.
    pub every_matrix: bool,
    /// Whether the rows of the mapped matrix are normalised by their second moment (NorMuon). On CUDA only at power 0.
    pub row_normalisation: bool,
    /// Decay of the second moment of rows.
    pub row_beta2: f64,
    /// Added to its root.
    pub row_epsilon: f64,
    /// How mapped tiles are scaled: one of `HIMUON_SCALE_...`. With a power above 0, or with normalised rows, none is read: the
    /// update of each matrix is brought to the root mean square `scale_factor`.
    pub scale: Scale,
    /// What the rows of a matrix are: one of `HIMUON_LAYOUT_...`.
    pub layout: Layout,
    /// What three or more dimensions are: one of `HIMUON_VIEW_...`.
    pub view: View,
    /// The factor of the scales.
    pub scale_factor: f64,
    /// The factor of what `coarse=r` adds to the tiles; negative: 0.5.
    pub coarse_factor: f64,
    /// The momentum of what the coarse part holds; negative: 0.8, or `momentum` if that is less.
    pub coarse_momentum: f64,
}

/// Options of a group of AdamW. Begin with `himuon_adamw_options_init`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct AdamWOptions {
    /// Set by `himuon_adamw_options_init`, and to be left.
    pub size: usize,
    /// Multiplies the optimizer's learning rate; without effect where `own_learning_rate` is not negative.
    pub learning_rate_factor: f64,
    /// A rate of the group's own; negative: the optimizer's.
    pub own_learning_rate: f64,
    /// Decoupled decay.
    pub weight_decay: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Whether parameters of at most one dimension decay too.
    pub decay_vectors: bool,
    /// Whether f32 masters of bf16 weights are kept, as 16 bits an element of state. Of tiles the specification says it:
    /// `weight=bf16 master_weights=true`.
    pub master_weights: bool,
}

// SAFETY: `repr(C)`, and every member stands for itself.
unsafe impl Grows for MuonOptions {
    const WHAT: &str = "the options of tiles";
    const MADE: &str = "himuon_muon_options_init(&options, sizeof options)";
    const FIRST: usize = size_of::<Self>();
}

// SAFETY: as above.
unsafe impl Grows for AdamWOptions {
    const WHAT: &str = "the options of AdamW";
    const MADE: &str = "himuon_adamw_options_init(&options, sizeof options)";
    const FIRST: usize = size_of::<Self>();
}

/// Sets options to the default ones: the optimizer's learning rate, decay 0.1, heavy-ball Nesterov momentum of 0.95, no row
/// normalisation, the scale 0.2 sqrt(max(h, w)) of an h x w tile, rows that are outputs.
///
/// # Safety
/// `options` is a place of `size` bytes, which is `sizeof(himuon_muon_options)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn himuon_muon_options_init(
    options: *mut MuonOptions,
    size: usize,
) -> Status {
    guarded(|| {
        // SAFETY: the caller's word.
        unsafe { PlaceOf::of_size(options, size)? }.fill(&MuonOptions::default());
        Ok(())
    })
}

impl Default for MuonOptions {
    fn default() -> Self {
        MuonOptions {
            size: size_of::<MuonOptions>(),
            learning_rate_factor: 1.0,
            own_learning_rate: -1.0,
            weight_decay: 0.1,
            momentum: 0.95,
            nesterov: true,
            moving_average: false,
            every_matrix: false,
            row_normalisation: false,
            row_beta2: 0.95,
            row_epsilon: 1e-8,
            scale: HIMUON_SCALE_EXACT,
            layout: HIMUON_LAYOUT_OUT_IN,
            view: HIMUON_VIEW_AUTOMATIC,
            scale_factor: 0.2,
            coarse_factor: -1.0,
            coarse_momentum: -1.0,
        }
    }
}

/// Sets options to the default ones: 0.05 times the optimizer's learning rate, decay 0.1, betas 0.95 and 0.95, epsilon 1e-8,
/// no decay of vectors and scalars.
///
/// # Safety
/// `options` is a place of `size` bytes, which is `sizeof(himuon_adamw_options)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn himuon_adamw_options_init(
    options: *mut AdamWOptions,
    size: usize,
) -> Status {
    guarded(|| {
        // SAFETY: the caller's word.
        unsafe { PlaceOf::of_size(options, size)? }.fill(&AdamWOptions::default());
        Ok(())
    })
}

impl Default for AdamWOptions {
    fn default() -> Self {
        AdamWOptions {
            size: size_of::<AdamWOptions>(),
            learning_rate_factor: 0.05,
            own_learning_rate: -1.0,
            weight_decay: 0.1,
            beta1: 0.95,
            beta2: 0.95,
            epsilon: 1e-8,
            decay_vectors: false,
            master_weights: false,
        }
    }
}

fn rate(factor: f64, own: f64) -> LearningRate {
    // NaN is nobody's default: the group's check refuses it.
    if own < 0.0 {
        LearningRate::Factor(factor)
    } else {
        LearningRate::Own(own)
    }
}

impl MuonOptions {
    /// `specs`: one specification a line or separated by `;`, the first is the default.
    pub(crate) fn resolve(&self, specs: &str) -> Result<optimizer::MuonOptions, Failure> {
        let specs = specs
            .split([';', '\n'])
            .map(str::trim)
            .filter(|spec| !spec.is_empty())
            .map(|spec| spec.parse().map_err(Failure::refused))
            .collect::<Result<Vec<_>, _>>()?;
        if specs.is_empty() {
            return Err(Failure::argument(
                "no specification was found, expected one as `tile=64 steps=5`",
            ));
        }
        let options = optimizer::MuonOptions::specs(specs)
            .learning_rate(rate(self.learning_rate_factor, self.own_learning_rate))
            .weight_decay(self.weight_decay)
            .momentum(self.momentum)
            .nesterov(self.nesterov)
            .convention(match self.moving_average {
                true => MomentumConvention::MovingAverage,
                false => MomentumConvention::HeavyBall,
            })
            .scale(rules::scale(self.scale)?)
            .scale_factor(self.scale_factor)
            .layout(rules::layout(self.layout)?)
            .view(rules::view(self.view)?);
        let options = match self.coarse_factor < 0.0 {
            true => options,
            false => options.coarse_factor(self.coarse_factor),
        };
        let options = match self.coarse_momentum < 0.0 {
            true => options,
            false => options.coarse_momentum(self.coarse_momentum),
        };
        let options = match self.row_normalisation {
            true => options.row_normalisation(NorMuon {
                beta2: self.row_beta2 as f32,
                epsilon: self.row_epsilon as f32,
            }),
            false => options,
        };
        Ok(match self.every_matrix {
            true => options.every_matrix(),
            false => options,
        })
    }
}

impl AdamWOptions {
    pub(crate) fn resolve(&self) -> optimizer::AdamWOptions {
        optimizer::AdamWOptions::default()
            .learning_rate(rate(self.learning_rate_factor, self.own_learning_rate))
            .weight_decay(self.weight_decay)
            .betas(self.beta1, self.beta2)
            .epsilon(self.epsilon)
            .decay_vectors(self.decay_vectors)
            .master_weights(self.master_weights)
    }
}
