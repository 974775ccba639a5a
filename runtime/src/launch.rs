//! What every backend is handed: the matrices of one launch, the run-time scalars of their group, and
//! what it reports back.

use crate::memory::{Host, Memory};

/// How a mapped tile is scaled before it is subtracted from the weight.
///
/// `h`, `w`: rows and columns of the tile as cut (a ragged tile is smaller); `H`, `W`: of the matrix. With a power above 0, or
/// with row normalisation, no rule is read: the update of each matrix is brought to the root mean square `scale_factor`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ScaleRule {
    /// factor * sqrt(max(h, w)): every tile, ragged ones too, has the same RMS.
    Exact,
    /// factor * sqrt(max(Th, Tw)) of the whole tile: the published code's.
    Paper,
    /// sqrt(max(1, H / W)): `original` of torch.optim.Muon.
    Original,
    /// factor * sqrt(max(H, W)): `match_rms_adamw` of torch.optim.Muon.
    MatchRmsAdamW,
    /// 1.
    None,
}

/// The run-time scalars of a parameter group:
/// `buf <- mu buf + c g; m <- alpha g + beta buf; W <- (1 - lr wd) W - lr scale(map(m))`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GroupScalars {
    /// Learning rate.
    pub learning_rate: f32,
    /// Decoupled weight decay.
    pub weight_decay: f32,
    /// Momentum decay.
    pub mu: f32,
    /// Weight of the gradient in the buffer.
    pub c: f32,
    /// Weight of the gradient in the update.
    pub alpha: f32,
    /// Weight of the buffer in the update.
    pub beta: f32,
    /// The factor of the scale rules, 0.2 by default.
    pub scale_factor: f32,
    /// The scale rule.
    pub scale: ScaleRule,
    /// Factor of the coarse part beside the fine one; without effect where there is one part alone.
    pub coarse_factor: f32,
    /// What the next momentum loses of what the coarse part captured: `buf <- buf - captured_decay captured(m)`; without
    /// effect where there is one part alone.
    pub captured_decay: f32,
}

/// One matrix of a step. Row `i` of a tensor starts at `i * leading dimension`.
#[derive(Debug)]
pub struct MatrixStep<'a, M: Memory = Host> {
    /// Rows H.
    pub rows: usize,
    /// Columns W.
    pub columns: usize,
    /// Gradient, H x W.
    pub gradient: M::Ref<'a>,
    /// Leading dimension of the gradient, at least W.
    pub gradient_leading: usize,
    /// Momentum, H x W, contiguous.
    pub momentum: M::Mut<'a>,
    /// Weight, H x W.
    pub weight: M::Mut<'a>,
    /// Leading dimension of the weight, at least W.
    pub weight_leading: usize,
    /// What the f32 master weights have more than the bf16 ones, H x W, contiguous, where the specification keeps them:
    /// see [`master_weight`](crate::master_weight).
    pub remainder: Option<M::Remainders<'a>>,
    /// NorMuon's row second moment, H numbers, and its settings; `None`: no row normalisation.
    pub row_normalisation: Option<RowNormalisation<'a, M>>,
    /// The basis of the coarse part, where the specification has one and the matrix more than one tile.
    pub coarse: Option<CoarseBasis<'a, M>>,
    /// Scalars of the group.
    pub scalars: GroupScalars,
    /// Per tile, row by row, when the caller wants them.
    pub diagnostics: Option<&'a mut [TileDiagnostics]>,
}

/// What one matrix of a launch asks of the scratch memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MatrixDemand {
    /// Rows H.
    pub rows: usize,
    /// Columns W.
    pub columns: usize,
    /// Whether its rows are normalised: then its map must be complete before its weight changes.
    pub row_normalised: bool,
    /// Whether its tiles are reported one by one.
    pub diagnosed: bool,
}

impl MatrixDemand {
    /// A matrix without row normalisation or diagnostics.
    pub const fn new(rows: usize, columns: usize) -> Self {
        MatrixDemand {
            rows,
            columns,
            row_normalised: false,
            diagnosed: false,
        }
    }

    /// What a matrix of a step asks.
    pub fn of<M: Memory>(matrix: &MatrixStep<'_, M>) -> Self {
        MatrixDemand {
            rows: matrix.rows,
            columns: matrix.columns,
            row_normalised: matrix.row_normalisation.is_some(),
            diagnosed: matrix.diagnostics.is_some(),
        }
    }
}

/// NorMuon (arXiv 2510.05491): v <- b2 v + (1 - b2) mean_columns(O^2); O / (sqrt(v) + eps), then the RMS
/// of the whole matrix set to the scale factor.
#[derive(Debug)]
pub struct RowNormalisation<'a, M: Memory = Host> {
    /// The row second moment, H numbers.
    pub second_moment: M::Moments<'a>,
    /// b2.
    pub beta2: f32,
    /// eps.
    pub epsilon: f32,
}

/// The warm-started basis V of a matrix's coarse part.
#[derive(Debug)]
pub struct CoarseBasis<'a, M: Memory = Host> {
    /// V, W x `capacity`, row by row: the first r columns are orthonormal or zero (those are seeded), the others are
    /// zero after a refresh.
    pub values: M::Moments<'a>,
    /// Columns that the state has room for, at least the rank of the specification or the matrix's shorter side.
    pub capacity: usize,
    /// Whether V moves at this step.
    pub refresh: bool,
    /// What the coarse part holds, when the caller wants it.
    pub figures: Option<&'a mut CoarseFigures>,
}

/// What the coarse part of one matrix holds at one step; zeros where there was none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CoarseFigures {
    /// ||P P^T M||_*, the nuclear norm of what is captured (between refreshes ||M V V^T||_*); 0 for p > 0.
    pub nuclear_norm: f32,
    /// ||P P^T M||_F.
    pub norm: f32,
    /// Columns of the basis at this step.
    pub rank: usize,
    /// Columns of the basis that collapsed and start from their seeds again.
    pub collapsed: usize,
}

/// What became of one tile.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TileDiagnostics {
    /// ||M||_F of the tile before the map.
    pub norm: f32,
    /// <X, O>, X = M / ||M||_F.
    pub inner_product: f32,
    /// ||O||_F^2.
    pub mapped_norm_squared: f32,
    /// The tile held a NaN or an infinity and was left alone.
    pub non_finite: bool,
    /// The criterion held, or there is none.
    pub orthogonalised: bool,
}

/// What a launch did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaunchReport {
    /// Kernels that were submitted: 1, or more where a norm of the whole matrix comes between.
    pub kernels: usize,
    /// Whether the two counts below are still on the device (see
    /// [`HiMuon::tile_counts`](crate::HiMuon::tile_counts)).
    pub pending: bool,
    /// Tiles of all matrices.
    pub tiles: usize,
    /// Tiles left unchanged because gradient or momentum held a NaN or an infinity.
    pub non_finite_tiles: usize,
    /// Tiles that the criterion left unorthogonalised.
    pub unorthogonalised_tiles: usize,
    /// Matrices whose coarse part was left out because gradient or momentum held a NaN or an infinity, or numbers whose
    /// products with the basis do.
    pub uncoupled_matrices: usize,
}

/// Whether a decay of `learning_rate` times `weight_decay` would turn a weight's sign.
pub(crate) fn decays_below_zero(learning_rate: f32, weight_decay: f32) -> bool {
    f64::from(learning_rate) * f64::from(weight_decay) > 1.0
}

/// What became of the tiles of all steps, and of the numbers that are updated element by element.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TileCounts {
    /// Tiles left unchanged because gradient or momentum held a NaN or an infinity.
    pub non_finite_tiles: u64,
    /// Tiles that the criterion left unorthogonalised.
    pub unorthogonalised_tiles: u64,
    /// Numbers that AdamW left unchanged because their moments would not have been finite.
    pub non_finite_numbers: u64,
    /// Matrices whose coarse part was left out, as in [`LaunchReport::uncoupled_matrices`].
    pub uncoupled_matrices: u64,
}

/// The scalars of AdamW (arXiv 1711.05101).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamWScalars {
    /// Learning rate.
    pub learning_rate: f32,
    /// Decay of the first moment, below 1.
    pub beta1: f32,
    /// Decay of the second moment, below 1.
    pub beta2: f32,
    /// Added to the root of the second moment.
    pub epsilon: f32,
    /// Decoupled weight decay.
    pub weight_decay: f32,
    /// Number of this step, from 1 on: for the bias correction.
    pub step: u64,
}

/// One tensor of an AdamW step; all hold as many numbers.
#[derive(Debug)]
pub struct AdamWTensor<'a, M: Memory = Host> {
    /// Weight.
    pub weight: M::Mut<'a>,
    /// Gradient.
    pub gradient: M::Ref<'a>,
    /// Running mean of the gradient.
    pub first_moment: M::Moments<'a>,
    /// Running mean of its square.
    pub second_moment: M::Moments<'a>,
    /// What the f32 master weights have more than the bf16 ones, where they are kept: see
    /// [`master_weight`](crate::master_weight).
    pub remainder: Option<M::Remainders<'a>>,
    /// Scalars of the group.
    pub scalars: AdamWScalars,
}

/// Everything that a step hands to a backend.
#[derive(Debug)]
pub struct StepWork<'a, M: Memory = Host> {
    /// The matrices of every chunk of every launch of the plan; those without a gradient are left out.
    pub launches: Vec<Vec<Vec<MatrixStep<'a, M>>>>,
    /// The tensors of the element-wise update.
    pub elementwise: Vec<AdamWTensor<'a, M>>,
}
