//! A small model with fixed numbers, and its numbers read out.

#![allow(dead_code)] // Each test binary uses a part.

use burn_core as burn;
use burn_core::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn_core::tensor::{Device, Int, Tensor, TensorData};
use burn_nn::{
    Embedding, EmbeddingConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig, LinearLayout,
};
use burn_optim::GradientsParams;
use himuon::optimizer::HiMuonBuilder;
use himuon_burn::{HiMuon, HiMuonConfig};

#[himuon::himuon(tile = 8, steps = 5)]
pub(crate) struct Mlp;

#[derive(Module, Debug)]
pub(crate) struct Block {
    pub(crate) norm: LayerNorm,
    pub(crate) up: Linear,
    pub(crate) down: Linear,
}

#[derive(Module, Debug)]
pub(crate) struct Model {
    pub(crate) embedding: Embedding,
    pub(crate) blocks: Vec<Block>,
}

/// The names of the model's parameters, in the order of its fields.
pub(crate) const NAMES: [&str; 13] = [
    "embedding.weight",
    "blocks.0.norm.gamma",
    "blocks.0.norm.beta",
    "blocks.0.up.weight",
    "blocks.0.up.bias",
    "blocks.0.down.weight",
    "blocks.0.down.bias",
    "blocks.1.norm.gamma",
    "blocks.1.norm.beta",
    "blocks.1.up.weight",
    "blocks.1.up.bias",
    "blocks.1.down.weight",
    "blocks.1.down.bias",
];

pub(crate) fn values(seed: usize, count: usize) -> Vec<f32> {
    (0..count)
        .map(|i| (((i + 1) * 7919 + seed * 104_729) % 1009) as f32 / 1009.0 - 0.5)
        .collect()
}

/// Other numbers for each parameter in turn.
struct Fixed(usize);

impl ModuleMapper for Fixed {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        self.0 += 1;
        let shape = param.shape();
        let data = TensorData::new(values(self.0, shape.num_elements()), shape);
        let fixed = |old: Tensor<D>| {
            let new = Tensor::from_data(data, (&old.device(), old.dtype()));
            new.set_require_grad(old.is_require_grad())
        };
        param.map(fixed)
    }
}

pub(crate) fn fixed<M: Module>(module: M) -> M {
    module.map(&mut Fixed(0))
}

pub(crate) fn device() -> Device {
    Device::default().autodiff()
}

pub(crate) fn model() -> Model {
    model_on(&device())
}

pub(crate) fn model_on(device: &Device) -> Model {
    fixed(random_model_on(device))
}

/// Whose parameters are made when they are first asked for: what a record can be loaded into.
pub(crate) fn random_model_on(device: &Device) -> Model {
    let block = |layout: LinearLayout| Block {
        norm: LayerNormConfig::new(24).init(device),
        up: LinearConfig::new(24, 40).init(device),
        down: LinearConfig::new(40, 24).with_layout(layout).init(device),
    };
    Model {
        embedding: EmbeddingConfig::new(11, 24).init(device),
        blocks: vec![block(LinearLayout::Row), block(LinearLayout::Col)],
    }
}

impl Model {
    /// Distance of what the model makes of eleven tokens from fixed numbers.
    pub(crate) fn loss(&self) -> Tensor<1> {
        let device = self.embedding.weight.device();
        let tokens = Tensor::<1, Int>::arange(0..11, &device).reshape([1, 11]);
        let mut x = self.embedding.forward(tokens);
        for block in &self.blocks {
            let hidden = block.up.forward(block.norm.forward(x.clone())).tanh();
            x = x + block.down.forward(hidden);
        }
        let target = TensorData::new(values(99, 11 * 24), [1, 11, 24]);
        let dtype = x.dtype();
        (x - Tensor::from_data(target, (&device, dtype)))
            .square()
            .mean()
    }

    pub(crate) fn gradients(&self) -> GradientsParams {
        GradientsParams::from_grads(self.loss().backward(), self)
    }
}

pub(crate) fn declare(builder: HiMuonBuilder) -> HiMuonBuilder {
    builder.group::<Mlp>("blocks.*")
}

pub(crate) fn optimizer<M: Module>(module: &M) -> HiMuon {
    HiMuonConfig::new().with(declare).init(module).unwrap()
}

/// Name, shape and numbers of a parameter, and of its gradient.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) weight: Vec<f32>,
    pub(crate) gradient: Option<Vec<f32>>,
}

struct Lines<'a> {
    path: Vec<String>,
    gradients: &'a GradientsParams,
    lines: Vec<Line>,
}

impl ModuleVisitor for Lines<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let numbers = |tensor: Tensor<D>| tensor.try_into_vec_as::<f32>().unwrap();
        self.lines.push(Line {
            name: self.path.join("."),
            shape: param.shape().to_vec(),
            weight: numbers(param.val().inner()),
            gradient: self.gradients.get::<D>(param.id).map(numbers),
        });
    }
}

pub(crate) fn lines<M: Module>(module: &M, gradients: &GradientsParams) -> Vec<Line> {
    let mut lines = Lines {
        path: Vec::new(),
        gradients,
        lines: Vec::new(),
    };
    module.visit(&mut lines);
    lines.lines
}

/// The bits of all weights.
pub(crate) fn bits<M: Module>(module: &M) -> Vec<Vec<u32>> {
    let lines = lines(module, &GradientsParams::new()).into_iter();
    lines
        .map(|line| line.weight.iter().map(|value| value.to_bits()).collect())
        .collect()
}
