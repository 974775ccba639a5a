//! The text: where it comes from, and how it is cut into batches.

mod batches;
mod crate_sources;

pub(crate) use batches::{Batch, BatchShape};
pub(crate) use crate_sources::read_crate_sources;

use anyhow::{Context, Result, ensure};
use std::path::Path;

/// The text is cut into blocks of this many bytes. A window lies in one block.
const BLOCK_BYTES: usize = 1 << 16;
/// One block in so many is held out for validation.
const HELD_OUT_PERIOD: usize = 16;

/// A text divided into training blocks and held-out validation blocks.
pub(crate) struct Corpus {
    description: String,
    training: Vec<Vec<u8>>,
    validation: Vec<Vec<u8>>,
}

impl Corpus {
    /// The Rust sources of fixed dependencies, as cargo has unpacked them.
    pub(crate) fn of_crate_sources() -> Result<Self> {
        let (description, text) = read_crate_sources()?;
        Self::of_text(description, &text)
    }

    /// Any file, read as bytes.
    pub(crate) fn of_file(path: &Path) -> Result<Self> {
        let text = std::fs::read(path)
            .with_context(|| format!("the text {} cannot be read", path.display()))?;
        Self::of_text(format!("{}", path.display()), &text)
    }

    /// Cuts a text into blocks; small texts into smaller blocks, so that some are always held out.
    pub(crate) fn of_text(source: String, text: &[u8]) -> Result<Self> {
        let block_bytes = BLOCK_BYTES.min(text.len() / HELD_OUT_PERIOD);
        ensure!(
            block_bytes > 0,
            "the text {source} has {} bytes, expected at least {HELD_OUT_PERIOD}",
            text.len()
        );
        let (mut training, mut validation) = (Vec::new(), Vec::new());
        for (index, block) in text.chunks_exact(block_bytes).enumerate() {
            let held_out = index % HELD_OUT_PERIOD == HELD_OUT_PERIOD - 1;
            if held_out {
                &mut validation
            } else {
                &mut training
            }
            .push(block.to_vec());
        }
        let description = format!(
            "{source}: {:.2} MB in blocks of {block_bytes} bytes, {} for training, {} held out; FNV-1a {:016x}",
            text.len() as f64 / 1e6,
            training.len(),
            validation.len(),
            fnv1a(text),
        );
        Ok(Self {
            description,
            training,
            validation,
        })
    }

    /// The same text, of which only the first `blocks` are trained on; 0: all.
    pub(crate) fn with_training_blocks(&self, blocks: usize) -> Self {
        let wanted = if blocks == 0 {
            self.training.len()
        } else {
            blocks
        };
        Self {
            description: self.description.clone(),
            training: self.training.iter().take(wanted).cloned().collect(),
            validation: self.validation.clone(),
        }
    }

    /// What the text is, its size and a digest of its bytes.
    pub(crate) fn description(&self) -> &str {
        &self.description
    }
}

/// The 64-bit FNV-1a digest: tells one corpus from another, nothing more.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |digest, byte| {
        (digest ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn held_out_blocks_are_never_training_blocks() -> Result<()> {
        let text: Vec<u8> = (0..64 * 256).map(|i| (i / 256) as u8).collect();
        let corpus = Corpus::of_text("counting".into(), &text)?;
        assert!(!corpus.validation.is_empty());
        for held_out in &corpus.validation {
            assert!(!corpus.training.contains(held_out));
        }
        let bytes: usize = corpus
            .training
            .iter()
            .chain(&corpus.validation)
            .map(Vec::len)
            .sum();
        assert_eq!(bytes, text.len());
        Ok(())
    }

    #[test]
    fn the_digest_is_fnv1a() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn a_text_too_small_is_refused() {
        let error = Corpus::of_text("a word".into(), b"hi")
            .err()
            .map(|e| e.to_string())
            .unwrap_or_default();
        assert!(
            error.contains("the text a word has 2 bytes, expected at least 16"),
            "{error}"
        );
    }
}
