//! Spectrum and map of a matrix too large to decompose, from random vectors.

use himuon_templates::{KernelSpec, StepTable, spec::SpecError};

use super::lanczos::Lanczos;
use super::operator::{Block, Operator, Signs, inner_products};
use super::spectrum::Spectrum;

/// Random vectors.
pub(super) const VECTORS: usize = 8;
/// Lanczos steps from each: singular values closer than about s_max/STEPS are not told apart.
pub(super) const STEPS: usize = 48;

/// Random signs z, and what the Lanczos process found from each.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) vectors: Block<VECTORS>,
    process: Lanczos<VECTORS>,
    short: usize,
    norm: f64,
}

/// What is known of the whole matrix's map F.
#[derive(Debug)]
pub(super) struct SampledMap {
    /// h(A) z with F = G h(A), A = G^T G (or F = h(A) G, A = G G^T).
    pub(super) images: Block<VECTORS>,
    /// ||F||_F^2 as each vector sees it.
    pub(super) norms_squared: [f64; VECTORS],
    /// ||F||_2.
    pub(super) spectral_norm: f64,
}

impl Sample {
    pub(super) fn new(matrix: &Operator<'_>, seed: u64) -> Self {
        let vectors = Signs::new(seed).block(matrix.short());
        Sample {
            process: Lanczos::run(matrix, &vectors, STEPS),
            vectors,
            short: matrix.short(),
            norm: matrix.norm(),
        }
    }

    /// The density of the singular values: each vector's nodes count alike.
    pub(super) fn spectrum(&self) -> Spectrum {
        let share = self.short as f64 / VECTORS as f64;
        let nodes = (0..VECTORS).flat_map(|lane| self.process.nodes(lane));
        let pairs = nodes.map(|node| (node.value.sqrt(), node.weight * share));
        Spectrum::new(pairs.collect(), self.norm)
    }

    /// The map of `spec`, whatever its tile, of the whole matrix.
    pub(super) fn map(&self, spec: &KernelSpec) -> Result<SampledMap, SpecError> {
        let respond = self.response(spec)?;
        let slope = |square: f64| {
            let sigma = square.sqrt().max(1e-12 * self.norm);
            respond(sigma) / sigma
        };
        let mut norms_squared = [0.0; VECTORS];
        let mut spectral_norm = 0.0f64;
        for (lane, norm_squared) in norms_squared.iter_mut().enumerate() {
            for node in self.process.nodes(lane) {
                let image = respond(node.value.sqrt());
                *norm_squared += self.short as f64 * node.weight * image * image;
                spectral_norm = spectral_norm.max(image.abs());
            }
        }
        Ok(SampledMap {
            images: self.process.apply(slope),
            norms_squared,
            spectral_norm,
        })
    }

    /// What the map makes of a singular value. `turbo` is no function of the singular values alone; the polar
    /// factor, to which it converges, stands in for it.
    fn response(&self, spec: &KernelSpec) -> Result<impl Fn(f64) -> f64 + use<>, SpecError> {
        let table = spec.step_table()?;
        let power = spec.power.to_f64();
        let nu = match table {
            StepTable::Fitted(_) => self.spectrum().participation_ratio.powf(-0.25),
            _ => 1.0,
        };
        let norm = self.norm;
        Ok(move |sigma: f64| match &table {
            StepTable::Turbo(_) => 1.0,
            table => table.response(sigma / (norm * nu)) * nu.powf(power),
        })
    }
}

impl SampledMap {
    /// The cosine of F and a matrix O with norm `norm`, given (G^T O) z (or (G O^T) z), and its standard error
    /// by leaving out one vector at a time.
    pub(super) fn cosine(&self, crossed: &Block<VECTORS>, norm: f64) -> (f64, f64) {
        let along = inner_products(crossed, &self.images);
        let of = |left_out: Option<usize>| {
            let mean = |values: &[f64; VECTORS]| {
                let kept = values
                    .iter()
                    .enumerate()
                    .filter(|(lane, _)| Some(*lane) != left_out);
                let count = VECTORS - usize::from(left_out.is_some());
                kept.map(|(_, value)| value).sum::<f64>() / count as f64
            };
            mean(&along) / (norm * mean(&self.norms_squared).sqrt())
        };
        let value = of(None);
        let squares: f64 = (0..VECTORS)
            .map(|lane| (of(Some(lane)) - value).powi(2))
            .sum();
        let error = (squares * (VECTORS - 1) as f64 / VECTORS as f64).sqrt();
        (value, error)
    }

    /// ||F||_F.
    pub(super) fn norm(&self) -> f64 {
        (self.norms_squared.iter().sum::<f64>() / VECTORS as f64).sqrt()
    }
}
