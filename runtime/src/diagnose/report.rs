//! What was measured: plain data.

use serde::Serialize;

use super::recommendation::Recommendation;
use super::spectrum::Spectrum;
use super::tile_statistics::TileStatistics;

/// How spectrum and cosines were found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "name")]
pub enum Method {
    /// From all singular values and the map of the whole matrix.
    Exact,
    /// By stochastic Lanczos quadrature.
    Sampled {
        /// Random vectors.
        vectors: usize,
        /// Lanczos steps from each.
        steps: usize,
        /// min(rows, columns) above which this is done.
        limit: usize,
    },
}

/// A number that may have been sampled.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// The number.
    pub value: f64,
    /// Its standard error; none where nothing was sampled.
    pub standard_error: Option<f64>,
}

/// One matrix.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MatrixDiagnosis {
    /// Rows H.
    pub rows: usize,
    /// Columns W.
    pub columns: usize,
    /// ||G||_F.
    pub norm: f64,
    /// How it was measured.
    pub method: Method,
    /// Its singular values.
    pub spectrum: Spectrum,
    /// Rank of a coarse part that holds [`DiagnosisOptions::coarse_share`](super::DiagnosisOptions::coarse_share) of
    /// the nuclear norm: see [`Spectrum::rank_holding`].
    pub coarse_rank: usize,
    /// In the order asked for; of tiles that cut the matrix alike one.
    pub tiles: Vec<TileDiagnosis>,
    /// What to do.
    pub recommendation: Recommendation,
    /// What the diagnosis took.
    pub seconds: f64,
    /// About what it held at its peak, the file that it was read from not counted.
    pub memory_bytes: u64,
}

/// One tile size.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TileDiagnosis {
    /// As text: `128`, `64x256`, `full`.
    pub tile: String,
    /// What the tiles are, whatever the map.
    pub statistics: TileStatistics,
    /// One map per power, in the order asked for.
    pub maps: Vec<MapDiagnosis>,
}

/// One tile size and power.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MapDiagnosis {
    /// p, as text.
    pub power: String,
    /// The specification that was run.
    pub spec: String,
    /// <O, F>/(||O||_F ||F||_F), O the tiled update and F that of the whole matrix, of one specification.
    pub cosine: Estimate,
    /// p = 0: mean over the measured tiles of ||O O^T - I||_F / sqrt(r), r = min(h, w). Rounding and few steps
    /// leave 0.2 to 0.3 with `muon`.
    pub orthogonality_error: Option<f64>,
    /// The largest of them.
    pub worst_orthogonality_error: Option<f64>,
    /// ||O||_2 of the scaled update, RMS about 0.2, before the learning rate.
    pub spectral_norm: f64,
    /// The same of the whole matrix's update.
    pub full_spectral_norm: f64,
    /// Nominal operations of the map (see [`operations`](crate::plan::operations)).
    pub operations: u64,
    /// Bytes of scratch memory that the CPU kernel needs for this matrix on one thread.
    pub workspace_bytes: u64,
}
