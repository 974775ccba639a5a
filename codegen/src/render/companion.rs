//! The launches beside the tile kernels: AdamW of all tensors, the search for non-finite numbers, and what a step
//! decides on the device. One text serves every specification and architecture.

use super::{RenderError, Rendered, from_template};
use himuon_templates::KernelId;
use serde::Serialize;

const TEMPLATE: &str = "companion.cu.tera";

/// How the companion's kernels are launched, and the variables of its template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Companion {
    banner: String,
    /// Threads of a block.
    pub threads: u32,
    /// Groups of four numbers that a thread works on.
    pub quads: u32,
}

impl Companion {
    /// Numbers of one tensor that a block works on.
    pub fn numbers_of_block(&self) -> u64 {
        4 * u64::from(self.threads) * u64::from(self.quads)
    }
}

impl Default for Companion {
    fn default() -> Self {
        Companion {
            banner: format!(
                "// HiMuon kernels {}, generated: the launches beside the tile kernels.",
                env!("CARGO_PKG_VERSION")
            ),
            threads: 256,
            quads: 4,
        }
    }
}

/// Renders the companion. The same settings give the same bytes.
///
/// # Errors
/// A template that does not fit its context, which is a fault of this crate.
pub fn companion(settings: &Companion) -> Result<Rendered, RenderError> {
    let text = from_template(TEMPLATE, settings, false)?;
    let id = KernelId::named("companion", &text);
    Ok(Rendered { id, text })
}
