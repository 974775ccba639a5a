//! A byte-level GPT: pre-norm blocks of causal attention and a GELU feed-forward part, without biases.

use crate::ops::{
    AttentionShape, causal_attention, cross_entropy, embed_bytes, gelu_mlp, linear, rms_norm,
};
use crate::random::NormalGenerator;
use candle_core::{Device, Result, Tensor, Var};
use candle_nn::VarMap;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The size of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GptConfig {
    pub(crate) layers: usize,
    pub(crate) width: usize,
    pub(crate) heads: usize,
    pub(crate) context: usize,
}

struct Block {
    attention_norm: Tensor,
    qkv: Tensor,
    out: Tensor,
    mlp_norm: Tensor,
    up: Tensor,
    down: Tensor,
}

/// The model; its weights live in the `VarMap` it was made with.
pub(crate) struct Gpt {
    shape: AttentionShape,
    byte_table: Tensor,
    position_table: Tensor,
    blocks: Vec<Block>,
    final_norm: Tensor,
    head: Tensor,
}

/// Standard deviation of the initial weights; output projections get it divided by the square root of their number.
const INITIAL_DEVIATION: f32 = 0.02;

impl Gpt {
    /// Makes the weights from the seed and registers them in `variables`.
    pub(crate) fn new(config: GptConfig, seed: u64, variables: &VarMap) -> Result<Self> {
        let mut make = WeightMaker {
            generator: NormalGenerator::new(seed),
            variables,
        };
        let GptConfig {
            layers,
            width,
            heads,
            context,
        } = config;
        let output_deviation = INITIAL_DEVIATION / ((2 * layers) as f32).sqrt();
        let byte_table = make.normal("embedding.bytes", (256, width), INITIAL_DEVIATION)?;
        let position_table =
            make.normal("embedding.positions", (context, width), INITIAL_DEVIATION)?;
        let mut blocks = Vec::with_capacity(layers);
        for layer in 0..layers {
            let name = |part: &str| format!("blocks.{layer}.{part}");
            blocks.push(Block {
                attention_norm: make.ones(&name("attention.norm"), width)?,
                qkv: make.normal(
                    &name("attention.qkv"),
                    (3 * width, width),
                    INITIAL_DEVIATION,
                )?,
                out: make.normal(&name("attention.out"), (width, width), output_deviation)?,
                mlp_norm: make.ones(&name("mlp.norm"), width)?,
                up: make.normal(&name("mlp.up"), (4 * width, width), INITIAL_DEVIATION)?,
                down: make.normal(&name("mlp.down"), (width, 4 * width), output_deviation)?,
            });
        }
        let final_norm = make.ones("final.norm", width)?;
        let head = make.normal("head", (256, width), INITIAL_DEVIATION)?;
        Ok(Self {
            shape: AttentionShape { context, heads },
            byte_table,
            position_table,
            blocks,
            final_norm,
            head,
        })
    }

    /// Mean cross entropy, in nats a byte, of predicting `targets` from `inputs`: whole sequences, one after the other.
    pub(crate) fn loss(&self, inputs: &Arc<[u8]>, targets: &Arc<[u8]>) -> Result<Tensor> {
        let mut x = embed_bytes(inputs, &self.byte_table, &self.position_table)?;
        for block in &self.blocks {
            let normal = rms_norm(&x, &block.attention_norm)?;
            x = (x + causal_attention(&normal, &block.qkv, &block.out, self.shape)?)?;
            let normal = rms_norm(&x, &block.mlp_norm)?;
            x = (x + gelu_mlp(&normal, &block.up, &block.down)?)?;
        }
        let logits = linear(&rms_norm(&x, &self.final_norm)?, &self.head)?;
        cross_entropy(&logits, targets)
    }
}

struct WeightMaker<'a> {
    generator: NormalGenerator,
    variables: &'a VarMap,
}

impl WeightMaker<'_> {
    fn normal(&mut self, name: &str, shape: (usize, usize), deviation: f32) -> Result<Tensor> {
        let values: Vec<f32> = (0..shape.0 * shape.1)
            .map(|_| deviation * self.generator.sample())
            .collect();
        self.register(name, Tensor::from_vec(values, shape, &Device::Cpu)?)
    }

    fn ones(&self, name: &str, width: usize) -> Result<Tensor> {
        self.register(
            name,
            Tensor::from_vec(vec![1.0_f32; width], width, &Device::Cpu)?,
        )
    }

    fn register(&self, name: &str, values: Tensor) -> Result<Tensor> {
        let variable = Var::from_tensor(&values)?;
        let tensor = variable.as_tensor().clone();
        let mut variables = self
            .variables
            .data()
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        variables.insert(name.to_owned(), variable);
        Ok(tensor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: GptConfig = GptConfig {
        layers: 2,
        width: 32,
        heads: 2,
        context: 16,
    };

    fn bytes(seed: usize) -> Arc<[u8]> {
        (0..32).map(|i| (i * 37 + seed * 11) as u8).collect()
    }

    #[test]
    fn a_fresh_model_is_about_uniform() -> Result<()> {
        let loss = Gpt::new(SMALL, 0, &VarMap::new())?
            .loss(&bytes(0), &bytes(1))?
            .to_scalar::<f32>()?;
        assert!((loss - 256.0_f32.ln()).abs() < 0.1, "{loss}");
        Ok(())
    }

    #[test]
    fn the_seed_decides_the_weights() -> Result<()> {
        let loss = |seed| {
            Gpt::new(SMALL, seed, &VarMap::new())?
                .loss(&bytes(0), &bytes(1))?
                .to_scalar::<f32>()
        };
        assert_eq!(loss(1)?.to_bits(), loss(1)?.to_bits());
        assert_ne!(loss(1)?.to_bits(), loss(2)?.to_bits());
        Ok(())
    }

    #[test]
    fn every_weight_gets_a_gradient() -> Result<()> {
        let variables = VarMap::new();
        let model = Gpt::new(SMALL, 0, &variables)?;
        let gradients = model.loss(&bytes(0), &bytes(1))?.backward()?;
        let named = variables
            .data()
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        assert_eq!(named.len(), 2 + 6 * SMALL.layers + 2);
        for (name, variable) in named.iter() {
            let gradient = gradients
                .get(variable)
                .unwrap_or_else(|| panic!("{name} has no gradient"));
            assert_eq!(gradient.dims(), variable.dims(), "{name}");
            assert!(
                gradient.abs()?.sum_all()?.to_scalar::<f32>()? > 0.0,
                "{name}"
            );
        }
        Ok(())
    }

    /// A step of gradient descent lowers the loss by about `rate * |gradient|^2`.
    #[test]
    fn the_whole_gradient_agrees_with_a_difference() -> Result<()> {
        let variables = VarMap::new();
        let model = Gpt::new(SMALL, 0, &variables)?;
        let loss = model.loss(&bytes(0), &bytes(1))?;
        let gradients = loss.backward()?;
        let mut expected = 0.0;
        let rate = 1e-2;
        for variable in variables.all_vars() {
            let Some(gradient) = gradients.get(&variable) else {
                continue;
            };
            expected += rate * f64::from(gradient.sqr()?.sum_all()?.to_scalar::<f32>()?);
            variable.set(&(variable.as_tensor() - (gradient * rate)?)?)?;
        }
        let after = model.loss(&bytes(0), &bytes(1))?;
        let found = f64::from(loss.to_scalar::<f32>()? - after.to_scalar::<f32>()?);
        assert!(
            (found / expected - 1.0).abs() < 0.1,
            "found a drop of {found}, expected {expected}"
        );
        Ok(())
    }
}
