//! The launches around mapped tiles: the coarse part of a two-level map at p = 0, and row normalisation. One text serves every tile,
//! number of steps and architecture; it depends on the types of weights and momenta.

use super::context::element;
use super::literal::float;
use super::{RenderError, Rendered, from_template};
use himuon_templates::spec::{MAX_COARSE_RANK, coarse_map};
use himuon_templates::{Element, KernelId, KernelSpec, Power, StepTable, Storage, Tile};
use serde::Serialize;

const TEMPLATE: &str = "coupling.cu.tera";

/// The variables of the template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Coupling {
    banner: String,
    weight: &'static str,
    momentum: &'static str,
    /// Of the polar factor of the r x r matrix, as finished literals.
    steps: Vec<Vec<String>>,
    /// Threads of a block.
    pub threads: u32,
    patch: usize,
    product_rows: usize,
    product_columns: usize,
    gram_panel: usize,
    gram_rows: usize,
    gram_chunks: usize,
    most_rank: u32,
    #[serde(skip)]
    master_weights: bool,
}

/// Tiles that the launches couple: their size makes no difference to them.
fn any_tiles(storage: Storage) -> KernelSpec {
    let tiles = KernelSpec::new(Tile::square(16));
    KernelSpec { storage, ..tiles }.coupled_step()
}

impl Coupling {
    /// Rows and columns of the matrix that a block has where numbers are taken one by one.
    pub const PATCH: usize = 64;
    /// Rows of the result, and columns of the basis, that a block computes of a product with a basis.
    pub const PRODUCT: (usize, usize) = (64, 32);
    /// Of the chunks that the Gram matrix of a factor is summed up from: a divisor of their rows, the least there are, and the
    /// most chunks of a factor.
    pub const GRAM: (usize, usize, usize) = (64, 128, 64);

    /// For weights and gradients of one type, and momenta of another.
    ///
    /// # Errors
    /// None in fact: the polar factor has coefficients.
    pub fn new(storage: &Storage) -> Result<Self, RenderError> {
        let steps = match coarse_map(Power::ZERO)? {
            StepTable::Odd(steps) => steps,
            _ => Vec::new(),
        };
        let literals = |step: [f32; 3]| step.into_iter().map(float).collect();
        Ok(Coupling {
            banner: format!(
                "// HiMuon kernels {}, generated: the coarse part around mapped tiles of {} weights and {} momenta.\n\
                 // Do not edit: remake it, and the kernel of some tiles, with\n\
                 //   himuon emit --spec '{}' --out FOLDER",
                env!("CARGO_PKG_VERSION"),
                storage.weight,
                storage.momentum,
                any_tiles(*storage),
            ),
            weight: element(storage.weight),
            momentum: element(storage.momentum),
            steps: steps.into_iter().map(literals).collect(),
            threads: 256,
            patch: Self::PATCH,
            product_rows: Self::PRODUCT.0,
            product_columns: Self::PRODUCT.1,
            gram_panel: Self::GRAM.0,
            gram_rows: Self::GRAM.1,
            gram_chunks: Self::GRAM.2,
            most_rank: MAX_COARSE_RANK,
            master_weights: storage.master_weights && storage.weight == Element::Bf16,
        })
    }
}

/// Renders the launches around mapped tiles. The same settings give the same bytes.
///
/// # Errors
/// A template that does not fit its context, which is a fault of this crate.
pub fn coupling(settings: &Coupling) -> Result<Rendered, RenderError> {
    let text = from_template(TEMPLATE, settings, settings.master_weights)?;
    let master = if settings.master_weights {
        "_master"
    } else {
        ""
    };
    let name = format!("coupling_{}_{}{master}", settings.weight, settings.momentum);
    let id = KernelId::named(&name.to_lowercase(), &text);
    Ok(Rendered { id, text })
}
