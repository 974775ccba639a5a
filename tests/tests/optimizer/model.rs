//! A small model of every kind of parameter, with weights and gradients from a seed.

use himuon::optimizer::{HiMuonBuilder, MuonOptions, View};
use himuon::tensor::{TensorMut, TensorRef};
use himuon::tuning::{DeviceFingerprint, TuningTable};
use himuon::{HiMuon, KernelSpec, ParameterStep, Tile};

/// Standard normal numbers from a seed (SplitMix64 and Box-Muller).
pub(crate) struct Normal(u64);

impl Normal {
    pub(crate) fn new(seed: u64) -> Self {
        Normal(seed)
    }

    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    pub(crate) fn vector(&mut self, len: usize) -> Vec<f32> {
        (0..len)
            .map(|_| {
                let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
                (radius * (std::f64::consts::TAU * self.uniform()).cos()) as f32
            })
            .collect()
    }
}

/// Names, shapes and weights.
#[derive(Clone)]
pub(crate) struct Model {
    pub(crate) parameters: Vec<(&'static str, Vec<usize>)>,
    pub(crate) weights: Vec<Vec<f32>>,
}

impl Model {
    pub(crate) fn new(parameters: &[(&'static str, &[usize])]) -> Self {
        let mut normal = Normal::new(7);
        let parameters: Vec<_> = parameters
            .iter()
            .map(|(name, shape)| (*name, shape.to_vec()))
            .collect();
        let weights = parameters
            .iter()
            .map(|(_, shape)| normal.vector(shape.iter().product()))
            .collect();
        Model {
            parameters,
            weights,
        }
    }

    /// A transformer with a stack of experts and a convolution, no side a multiple of the tile.
    pub(crate) fn mixed() -> Self {
        Model::new(&[
            ("embed.weight", &[50, 24]),
            ("blocks.0.attn.q.weight", &[24, 24]),
            ("blocks.0.attn.out.weight", &[40, 24]),
            ("blocks.0.norm.weight", &[24]),
            ("blocks.0.mlp.up.weight", &[70, 24]),
            ("blocks.0.mlp.experts", &[3, 20, 30]),
            ("blocks.0.conv.weight", &[8, 3, 3, 3]),
            ("lm_head.weight", &[50, 24]),
        ])
    }

    /// The gradients of a step.
    pub(crate) fn gradients(&self, step: u64) -> Vec<Vec<f32>> {
        let mut normal = Normal::new(1000 + step);
        self.weights
            .iter()
            .map(|weight| normal.vector(weight.len()))
            .collect()
    }

    /// Takes a step with gradients from the step's seed.
    pub(crate) fn step(&mut self, optimizer: &mut HiMuon) -> himuon::optimizer::StepReport {
        let gradients = self.gradients(optimizer.steps_taken());
        self.step_with(optimizer, &gradients).unwrap()
    }

    /// Takes a step with these gradients.
    pub(crate) fn step_with(
        &mut self,
        optimizer: &mut HiMuon,
        gradients: &[Vec<f32>],
    ) -> Result<himuon::optimizer::StepReport, himuon::Error> {
        optimizer.step(&mut self.with(gradients))
    }

    /// Weights and gradients as a step takes them.
    pub(crate) fn with<'a>(&'a mut self, gradients: &'a [Vec<f32>]) -> Vec<ParameterStep<'a>> {
        let pairs = self.weights.iter_mut().zip(gradients);
        pairs
            .map(|(weight, gradient)| ParameterStep {
                weight: TensorMut::F32(weight),
                gradient: Some(TensorRef::F32(gradient)),
            })
            .collect()
    }

    /// The bits of all weights.
    pub(crate) fn bits(&self) -> Vec<u32> {
        let numbers = self.weights.iter().flatten();
        numbers.map(|weight| weight.to_bits()).collect()
    }

    /// A builder with this model's parameters that reads no tuning table of this machine.
    pub(crate) fn builder(&self) -> HiMuonBuilder {
        HiMuon::builder()
            .parameters(self.parameters.iter().map(|(name, shape)| (*name, shape)))
            .threads(1)
            .tuning(TuningTable::new(DeviceFingerprint::cpu()))
    }

    /// A builder with groups of several tiles for [`Model::mixed`].
    pub(crate) fn grouped(&self) -> HiMuonBuilder {
        let tiles = [Tile::square(16), Tile::Full, Tile::square(32)];
        let blocks = || MuonOptions::specs(tiles.map(KernelSpec::new));
        self.builder()
            .group_with("*.experts", blocks().view(View::Stack))
            .group_with("blocks.*", blocks())
    }
}
