//! What is asked.

use himuon_templates::{
    CoefficientSet, KernelSpec, Measure, Operand, Power, SpecFields, Tile, spec::SpecError,
};

/// One of MiMuon's criteria: a tile is orthogonalised where `measure >= threshold`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CriterionTest {
    /// What is measured.
    pub measure: Measure,
    /// The threshold tau.
    pub threshold: f64,
}

/// What [`diagnose`](super::diagnose) measures.
#[derive(Clone, Debug, PartialEq)]
pub struct DiagnosisOptions {
    /// The tiles to compare with the whole matrix. By default the powers of two from 16 to 512, and full.
    pub tiles: Vec<Tile>,
    /// The powers p of U S^p V^T. By default 0, 1/3 and 1/2.
    pub powers: Vec<Power>,
    /// Coefficients at p = 0; by default those of every kernel (`muon`).
    pub coefficients: Option<CoefficientSet>,
    /// Steps K at p = 0; by default the coefficient set's own.
    pub steps: Option<u32>,
    /// For which of MiMuon's criteria tiles are counted that would be left alone.
    pub criteria: Vec<CriterionTest>,
    /// Largest min(rows, columns) for which nothing is sampled.
    pub dense_limit: usize,
    /// A tile is recommended when the cosine to the whole matrix's map is at least this.
    pub cosine_floor: f64,
    /// Share of the nuclear norm, in [0, 1], for which the rank of a coarse part is named.
    pub coarse_share: f64,
    /// Threads; 0 stands for all.
    pub threads: usize,
    /// Of the random vectors above the limit.
    pub seed: u64,
}

impl Default for DiagnosisOptions {
    fn default() -> Self {
        let test = |measure, threshold| CriterionTest { measure, threshold };
        let edges = (4..=9).map(|exponent| Tile::square(1 << exponent));
        DiagnosisOptions {
            tiles: edges.chain([Tile::Full]).collect(),
            powers: [(0, 1), (1, 3), (1, 2)]
                .into_iter()
                .filter_map(|(numerator, denominator)| Power::new(numerator, denominator))
                .collect(),
            coefficients: None,
            steps: None,
            criteria: vec![
                test(Measure::FroNorm, 1e-6),
                test(Measure::EffectiveRank, 0.1),
                test(Measure::NuclearRank, 0.3),
                test(Measure::MinGap, 1e-6),
            ],
            dense_limit: 1024,
            cosine_floor: 0.6,
            coarse_share: 0.5,
            threads: 0,
            seed: 0,
        }
    }
}

impl DiagnosisOptions {
    /// The specification of a tile and a power, as the CPU runs it.
    ///
    /// # Errors
    /// What does not go together.
    pub fn spec(&self, tile: Tile, power: Power) -> Result<KernelSpec, SpecError> {
        let polar = power == Power::ZERO;
        SpecFields {
            tile: Some(tile),
            power: Some(power),
            coefficients: self.coefficients.clone().filter(|_| polar),
            steps: self.steps.filter(|_| polar),
            operand: Some(Operand::F32),
            ..SpecFields::default()
        }
        .resolve()
    }
}
