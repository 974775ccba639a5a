//! From a specification, a variant and an architecture to self-contained CUDA text.
//!
//! A template chooses constants, order and includes; the mathematics is plain CUDA in the library beside it.
//! `context` computes what a template is given, `literal` writes floats with exact bits, `include`
//! puts the library's text in place of the `#include` lines, and `banner` writes the head.

mod banner;
mod companion;
mod context;
mod coupling;
mod include;
mod literal;
mod resident;
mod streamed;

#[cfg(feature = "compile")]
pub(crate) use banner::command;
pub use companion::{Companion, companion};
pub use coupling::{Coupling, coupling};

use himuon_templates::sources::{TEMPLATES, template_path};
use himuon_templates::{
    Architecture, Coarse, KernelId, KernelSource, KernelSpec, SpecError, Variant, VariantError,
};
use std::borrow::Cow;
use tera::{Context, Delimiters, Tera};

/// Why a kernel cannot be rendered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RenderError {
    /// The specification breaks a rule.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The variant cannot compute it.
    #[error(transparent)]
    Variant(#[from] VariantError),
    /// A template and its context do not fit, which is a fault of this crate.
    #[error("template {template}: {source}; please report it")]
    Template {
        /// Its path.
        template: &'static str,
        /// What the template engine says.
        source: tera::Error,
    },
    /// A library file includes one that is not in the list of sources, which is a fault of this crate.
    #[error("{path} is included and not in the list of sources; please report it")]
    Include {
        /// What was included.
        path: String,
    },
}

/// A kernel's text and name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// The identity of the text.
    pub id: KernelId,
    /// Self-contained CUDA C++.
    pub text: String,
}

/// Renders one kernel. The same inputs give the same bytes.
///
/// ```
/// use himuon_codegen::render;
/// use himuon_templates::{Architecture, KernelSpec, Tile, Variant};
/// let spec = KernelSpec::new(Tile::square(64));
/// let variant = Variant::default_for(&spec, Architecture::Sm80);
/// let kernel = render(&spec, &variant, Architecture::Sm80).unwrap();
/// assert!(kernel.text.starts_with("// HiMuon kernel"));
/// assert!(kernel.id.to_string().starts_with("ns_t64_k5_muon_f32_sm80_"));
/// ```
///
/// # Errors
/// When the specification breaks a rule or the variant cannot compute it on any device of `architecture`.
pub fn render(
    spec: &KernelSpec,
    variant: &Variant,
    architecture: Architecture,
) -> Result<Rendered, RenderError> {
    variant.fits(spec, architecture.largest_limits())?;
    let banner = banner::banner(spec, variant, architecture)?;
    let template = template_path(variant);
    let failed = |source| RenderError::Template { template, source };
    let context = match variant {
        Variant::Plain(plain) => {
            let context = context::PlainContext::new(spec, plain, banner)?;
            Context::from_serialize(&context).map_err(failed)?
        }
        Variant::Resident(settings) => {
            let context = resident::ResidentContext::new(spec, settings, banner)?;
            Context::from_serialize(&context).map_err(failed)?
        }
        Variant::Streamed(settings) => {
            let context = streamed::StreamedContext::new(spec, settings, banner)?;
            Context::from_serialize(&context).map_err(failed)?
        }
    };
    let text = engine()
        .and_then(|engine| engine.render(template, &context))
        .map_err(failed)?;
    let text = include::resolved(&text, spec.storage.master_weights)?;
    let id = KernelId::new(spec, variant, architecture, &text);
    Ok(Rendered { id, text })
}

/// The default variant's text of each specification for each architecture class: what the attribute emits.
///
/// A specification whose criterion is decided on the host (`min_gap`, scope `matrix`), or with a coarse part,
/// has no kernel of its own and is left out.
///
/// # Errors
/// As [`render`].
pub fn sources(specs: &[KernelSpec]) -> Result<Vec<KernelSource>, RenderError> {
    let mut sources = Vec::with_capacity(specs.len() * Architecture::ALL.len());
    let alone = |(_, spec): &(usize, &KernelSpec)| spec.coarse == Coarse::Off;
    for (index, spec) in specs.iter().enumerate().filter(alone) {
        for architecture in Architecture::ALL {
            let variant = Variant::default_for(spec, architecture);
            match render(spec, &variant, architecture) {
                Ok(Rendered { id, text }) => sources.push(KernelSource {
                    id: Cow::Owned(id.to_string()),
                    spec: index,
                    architecture: architecture.number(),
                    text: Cow::Owned(text),
                }),
                Err(RenderError::Variant(VariantError::HostCriterion { .. })) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(sources)
}

/// A library file with everything that it includes: plain CUDA that compiles by itself.
///
/// # Errors
/// [`RenderError::Include`] when there is no such file.
pub fn header(path: &str) -> Result<String, RenderError> {
    include::resolved(&format!("#include \"{path}\"\n"), false)
}

/// The text of launches that stand beside or around tile kernels: a template with every library file that it includes.
fn from_template(
    template: &'static str,
    settings: &impl serde::Serialize,
    master_weights: bool,
) -> Result<String, RenderError> {
    let failed = |source| RenderError::Template { template, source };
    let context = Context::from_serialize(settings).map_err(failed)?;
    let text = engine()
        .and_then(|engine| engine.render(template, &context))
        .map_err(failed)?;
    include::resolved(&text, master_weights)
}

/// The engine with every template. Its usual delimiters collide with braces of CUDA and PTX.
fn engine() -> Result<Tera, tera::Error> {
    let mut engine = Tera::new();
    engine.set_delimiters(Delimiters {
        block_start: "<%".into(),
        block_end: "%>".into(),
        variable_start: "@{".into(),
        variable_end: "}@".into(),
        comment_start: "<#".into(),
        comment_end: "#>".into(),
    })?;
    engine.autoescape_on(Vec::<&str>::new());
    engine.add_raw_templates(TEMPLATES.iter().map(|file| (file.path, file.text)))?;
    Ok(engine)
}

#[cfg(test)]
mod tests;
