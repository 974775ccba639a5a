//! From a specification to a bundle on disk: what `himuon emit` and a build script do.

use crate::bundle::{self, Manifest};
use crate::compile::{CompileError, Compiled, Compiler, Part};
use crate::render::{Companion, Coupling, RenderError, Rendered, companion, coupling, render};
use himuon_templates::variant::Resident;
use himuon_templates::{Architecture, Coarse, Criterion, KernelSpec, ParseError, Power, Variant};
use std::path::{Path, PathBuf};

/// Why a bundle was not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmitError {
    /// The architecture is none that kernels are made for.
    #[error("architecture {found}: accepted are {}", accepted_targets())]
    Architecture {
        /// What was asked for.
        found: String,
    },
    /// Specification and variant do not go together.
    #[error(transparent)]
    Render(#[from] RenderError),
    /// The compiler refuses the text.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// A file cannot be written.
    #[error("{}: {source}", path.display())]
    Write {
        /// The folder of the bundles.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// The architectures that kernels are tested for, with the class whose text they take.
pub const TARGETS: [(&str, Architecture); 7] = [
    ("sm_75", Architecture::Sm75),
    ("sm_80", Architecture::Sm80),
    ("sm_86", Architecture::Sm80),
    ("sm_89", Architecture::Sm80),
    ("sm_90a", Architecture::Sm90a),
    ("sm_100a", Architecture::Sm80),
    ("sm_120", Architecture::Sm80),
];

/// Architectures that are accepted besides, where the compiler knows them: all take the text of [`Architecture::Sm80`].
/// A device of one of them also runs what was compiled for a lower one, see `docs/cuda-runtime.md`.
pub const FURTHER_TARGETS: [&str; 5] = ["sm_87", "sm_100", "sm_103", "sm_110", "sm_121"];

fn accepted_targets() -> String {
    let tested = TARGETS.iter().map(|(name, _)| *name);
    tested.chain(FURTHER_TARGETS).collect::<Vec<_>>().join(", ")
}

/// A bundle and what was compiled for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Emitted {
    /// Its folder.
    pub folder: PathBuf,
    /// What it was made for, as in `sm_86`.
    pub target: String,
    /// How the kernel is computed.
    pub variant: Variant,
    /// What `manifest.json` says.
    pub manifest: Manifest,
    /// PTX, cubin and resources; `None` without a compiler.
    pub compiled: Option<Compiled>,
}

/// Renders `spec` for `target` (as in `sm_86`), in its default variant unless one is given, compiles it if there
/// is a compiler, and writes the bundle below `folder`.
///
/// # Errors
/// [`EmitError`].
pub fn emit(
    spec: &KernelSpec,
    variant: Option<Variant>,
    target: &str,
    compiler: Option<&Compiler>,
    folder: &Path,
) -> Result<Emitted, EmitError> {
    let architecture = class_of(target)?;
    let variant = variant.unwrap_or_else(|| Variant::default_for(spec, architecture));
    let rendered = render(spec, &variant, architecture)?;
    let compiled = match compiler {
        Some(compiler) => Some(compiler.compile(&rendered.text, target, Part::All)?),
        None => None,
    };
    let with_target = compiled.as_ref().map(|compiled| (target, compiled));
    let (folder, manifest) =
        bundle::write(folder, spec, &variant, architecture, &rendered, with_target).map_err(
            |source| EmitError::Write {
                path: folder.to_owned(),
                source,
            },
        )?;
    Ok(Emitted {
        folder,
        target: target.to_owned(),
        variant,
        manifest,
        compiled,
    })
}

/// Launches beside or around the tile kernels, compiled for one target.
#[derive(Clone, Debug, PartialEq)]
pub struct EmittedCompanion {
    /// Its folder: `kernel.cu` and, if compiled, `kernel.ptx` and `kernel.cubin`. There is no manifest: the launches are
    /// those of the runtime alone.
    pub folder: PathBuf,
    /// What it was made for, as in `sm_86`.
    pub target: String,
    /// The identity of its text.
    pub id: String,
    /// PTX, cubin and resources; `None` without a compiler.
    pub compiled: Option<Compiled>,
}

/// Renders the companion (AdamW, the search for non-finite numbers, the step clock), compiles it for `target` if there is
/// a compiler, and writes it below `folder`.
///
/// # Errors
/// [`EmitError`].
pub fn emit_companion(
    target: &str,
    compiler: Option<&Compiler>,
    folder: &Path,
) -> Result<EmittedCompanion, EmitError> {
    class_of(target)?;
    emit_beside(&companion(&Companion::default())?, target, compiler, folder)
}

/// Whether a coarse part couples the tiles by launches around their kernel; above p = 0 there are none.
pub fn is_coupled(spec: &KernelSpec) -> bool {
    spec.coarse != Coarse::Off && spec.power == Power::ZERO
}

/// The specification whose kernel has the tiles of `spec`: with their coarse part where one kernel does both
/// ([`KernelSpec::coupled_step`]), or what the launches of a coarse part leave to be mapped
/// ([`KernelSpec::remainder_map`]); `spec` itself where nothing couples the tiles.
pub fn kernel_of_tiles(spec: &KernelSpec, architecture: Architecture) -> KernelSpec {
    if !is_coupled(spec) {
        return spec.clone();
    }
    let step = spec.coupled_step();
    match spec.couples_in_one_pass() && Resident::default_for(&step, architecture).is_some() {
        true => step,
        false => spec.remainder_map(),
    }
}

/// The specification whose kernel maps the tiles of `spec` in a step that normalises rows, which the launches of
/// [`emit_coupling`] do after it; `None` at other powers than 0 and with a criterion, where it is done on the CPU alone.
pub fn kernel_of_normalised_rows(spec: &KernelSpec) -> Option<KernelSpec> {
    let on_device = spec.power == Power::ZERO && spec.criterion == Criterion::Always;
    on_device.then(|| spec.remainder_map())
}

/// Renders the launches that couple the tiles of `spec` by its coarse part and normalise rows, compiles them for `target` if there is a compiler, and
/// writes them below `folder`. The tiles have the kernel of [`kernel_of_tiles`].
///
/// # Errors
/// [`EmitError`].
pub fn emit_coupling(
    spec: &KernelSpec,
    target: &str,
    compiler: Option<&Compiler>,
    folder: &Path,
) -> Result<EmittedCompanion, EmitError> {
    class_of(target)?;
    let rendered = coupling(&Coupling::new(&spec.storage)?)?;
    emit_beside(&rendered, target, compiler, folder)
}

/// Compiles and writes launches that have no manifest.
fn emit_beside(
    rendered: &Rendered,
    target: &str,
    compiler: Option<&Compiler>,
    folder: &Path,
) -> Result<EmittedCompanion, EmitError> {
    let compiled = match compiler {
        Some(compiler) => Some(compiler.compile(&rendered.text, target, Part::All)?),
        None => None,
    };
    let folder = bundle::write_files(folder, rendered, compiled.as_ref()).map_err(|source| {
        EmitError::Write {
            path: folder.to_owned(),
            source,
        }
    })?;
    Ok(EmittedCompanion {
        folder,
        target: target.to_owned(),
        id: rendered.id.to_string(),
        compiled,
    })
}

/// The class whose text a target takes, as `sm_86` that of `sm_80`.
///
/// # Errors
/// [`EmitError::Architecture`] for any other name than those of [`TARGETS`] and [`FURTHER_TARGETS`].
pub fn class_of(target: &str) -> Result<Architecture, EmitError> {
    let further = FURTHER_TARGETS
        .iter()
        .map(|name| (*name, Architecture::Sm80));
    TARGETS
        .into_iter()
        .chain(further)
        .find(|(name, _)| *name == target)
        .map(|(_, class)| class)
        .ok_or_else(|| EmitError::Architecture {
            found: target.to_owned(),
        })
}

/// The stock grid: the tiles and types that most models use, with the default iteration.
///
/// # Errors
/// None in fact: every text of the grid is a specification.
pub fn stock_specs() -> Result<Vec<KernelSpec>, ParseError> {
    let mut specs = Vec::new();
    for tile in [16, 32, 48, 64, 96, 128] {
        for element in ["bf16", "f16", "f32"] {
            specs.push(format!("tile={tile} element={element}").parse()?);
        }
    }
    Ok(specs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_without_a_compiler_is_text_and_manifest() {
        let folder = std::env::temp_dir().join(format!("himuon-emit-{}", std::process::id()));
        let spec: KernelSpec = "tile=64 element=bf16 power=1/2".parse().unwrap();
        let emitted = emit(&spec, None, "sm_86", None, &folder).unwrap();
        let read = |name: &str| std::fs::read_to_string(emitted.folder.join(name)).unwrap();
        let manifest: serde_json::Value = serde_json::from_str(&read("manifest.json")).unwrap();
        let text = read("kernel.cu");
        for entry in manifest["entries"].as_array().unwrap() {
            let name = entry["name"].as_str().unwrap();
            let start = text.find(&format!("{name}(")).unwrap();
            let declared = &text[start..start + text[start..].find(')').unwrap()];
            let parameters = entry["parameters"].as_array().unwrap();
            assert_eq!(
                declared.matches(',').count() + 1,
                parameters.len(),
                "{name}"
            );
            for parameter in parameters {
                let parameter = parameter["name"].as_str().unwrap();
                assert!(
                    declared.contains(&format!(" {parameter}")),
                    "{name}: {parameter}"
                );
            }
        }
        assert_eq!(manifest["entries"].as_array().unwrap().len(), 4);
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn an_unknown_target_is_named() {
        let spec: KernelSpec = "tile=64".parse().unwrap();
        let error = emit(&spec, None, "sm_70", None, Path::new(".")).unwrap_err();
        assert!(error.to_string().contains("sm_70"));
    }

    #[test]
    fn every_device_that_has_no_tested_target_can_be_named() {
        for target in FURTHER_TARGETS {
            assert_eq!(class_of(target).unwrap(), Architecture::Sm80, "{target}");
        }
        // 9.0 takes the text of its own class, which only sm_90a is compiled from.
        let error = class_of("sm_90").unwrap_err().to_string();
        assert!(error.contains("sm_90:") && error.contains("sm_90a") && error.contains("sm_121"));
    }

    #[test]
    fn the_stock_grid_fits_its_family() {
        for spec in stock_specs().unwrap() {
            let variant = Variant::default_for(&spec, Architecture::Sm90a);
            assert!(matches!(variant, Variant::Resident(_)), "{spec}");
        }
    }
}
