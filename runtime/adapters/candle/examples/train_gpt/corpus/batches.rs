//! Batches: training windows drawn by seed and step, validation windows spread evenly.

use super::Corpus;
use anyhow::{Result, ensure};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use std::sync::Arc;

/// Sequences in a batch and bytes in a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchShape {
    pub(crate) sequences: usize,
    pub(crate) context: usize,
}

/// Sequences one after the other: the bytes read and, one place later, the bytes to predict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) inputs: Arc<[u8]>,
    pub(crate) targets: Arc<[u8]>,
}

impl Batch {
    /// The same sequences in `parts` batches of equal size; 0 and 1: as one. The sequences must divide into them.
    pub(crate) fn split(self, parts: usize) -> Vec<Self> {
        if parts < 2 {
            return vec![self];
        }
        let size = self.inputs.len() / parts;
        let inputs = self.inputs.chunks_exact(size);
        inputs
            .zip(self.targets.chunks_exact(size))
            .map(|(inputs, targets)| Self {
                inputs: inputs.into(),
                targets: targets.into(),
            })
            .collect()
    }

    fn of_windows<'a>(windows: impl Iterator<Item = &'a [u8]> + Clone) -> Self {
        let inputs = windows
            .clone()
            .flat_map(|w| &w[..w.len() - 1])
            .copied()
            .collect();
        let targets = windows.flat_map(|w| &w[1..]).copied().collect();
        Self { inputs, targets }
    }
}

impl Corpus {
    /// The batch of a training step. It depends on the seed and the step alone, so that a resumed run needs no position.
    pub(crate) fn training_batch(&self, shape: BatchShape, seed: u64, step: u64) -> Result<Batch> {
        let window = window_of(shape, &self.training)?;
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        generator.set_stream(step + 1);
        let windows: Vec<&[u8]> = (0..shape.sequences)
            .map(|_| {
                let block = &self.training[below(&mut generator, self.training.len())];
                &block[below(&mut generator, block.len() - window + 1)..][..window]
            })
            .collect();
        Ok(Batch::of_windows(windows.into_iter()))
    }

    /// `count` batches of held-out text: windows at equal distances, the same for every seed and optimizer.
    pub(crate) fn validation_batches(&self, shape: BatchShape, count: usize) -> Result<Vec<Batch>> {
        even_batches(&self.validation, shape, count)
    }

    /// The same of the training text.
    pub(crate) fn even_training_batches(
        &self,
        shape: BatchShape,
        count: usize,
    ) -> Result<Vec<Batch>> {
        even_batches(&self.training, shape, count)
    }
}

/// `count` batches of windows at equal distances.
fn even_batches(blocks: &[Vec<u8>], shape: BatchShape, count: usize) -> Result<Vec<Batch>> {
    let window = window_of(shape, blocks)?;
    let starts_per_block: usize = blocks[0].len() - window + 1;
    let starts = starts_per_block * blocks.len();
    let total = shape.sequences * count;
    let windows: Vec<&[u8]> = (0..total)
        .map(|i| {
            let start = i * starts / total;
            &blocks[start / starts_per_block][start % starts_per_block..][..window]
        })
        .collect();
    Ok(windows
        .chunks(shape.sequences)
        .map(|w| Batch::of_windows(w.iter().copied()))
        .collect())
}

/// Bytes of a window, if each block holds one.
fn window_of(shape: BatchShape, blocks: &[Vec<u8>]) -> Result<usize> {
    let window = shape.context + 1;
    let block = blocks.iter().map(Vec::len).min().unwrap_or(0);
    ensure!(
        block >= window,
        "the text gives blocks of {block} bytes, a context of {} needs {window}; take a longer text or a smaller --context",
        shape.context
    );
    Ok(window)
}

/// A uniform index below `count`, by multiplication: off by at most count / 2^64.
fn below(generator: &mut ChaCha8Rng, count: usize) -> usize {
    ((u128::from(generator.next_u64()) * count as u128) >> 64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: BatchShape = BatchShape {
        sequences: 4,
        context: 10,
    };

    fn corpus() -> Result<Corpus> {
        let text: Vec<u8> = (0..4096_u32).map(|i| (i % 251) as u8).collect();
        Corpus::of_text("counting".into(), &text)
    }

    #[test]
    fn targets_are_the_next_bytes() -> Result<()> {
        let corpus = corpus()?;
        let mut batches = corpus.validation_batches(SHAPE, 3)?;
        batches.push(corpus.training_batch(SHAPE, 1, 2)?);
        for batch in batches {
            assert_eq!(batch.inputs.len(), 40);
            for (input, target) in batch.inputs.iter().zip(&*batch.targets) {
                assert_eq!((u32::from(*input) + 1) % 251, u32::from(*target));
            }
        }
        Ok(())
    }

    #[test]
    fn seed_and_step_decide_the_training_batch() -> Result<()> {
        let corpus = corpus()?;
        let batch = |seed, step| corpus.training_batch(SHAPE, seed, step);
        assert_eq!(batch(1, 5)?, batch(1, 5)?);
        assert_ne!(batch(1, 5)?, batch(1, 6)?);
        assert_ne!(batch(1, 5)?, batch(2, 5)?);
        Ok(())
    }

    #[test]
    fn a_context_longer_than_a_block_is_refused() -> Result<()> {
        let shape = BatchShape {
            sequences: 1,
            context: 256,
        };
        let error = corpus()?
            .training_batch(shape, 0, 0)
            .err()
            .map(|e| e.to_string())
            .unwrap_or_default();
        assert!(
            error.contains("blocks of 256 bytes, a context of 256 needs 257"),
            "{error}"
        );
        Ok(())
    }
}
