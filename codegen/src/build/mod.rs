//! For a user's `build.rs`: every kernel that the crate's `#[himuon(...)]` attributes declare, and the companion that every
//! program needs (AdamW, the search for non-finite numbers), compiled ahead, so that the shipped program needs no CUDA
//! compiler. Of a specification with a coarse part these are the kernel of its tiles and the launches that couple them; a
//! program that normalises rows says so by [`Build::row_normalised`].
//!
//! ```no_run
//! // build.rs
//! fn main() -> Result<(), himuon_codegen::build::BuildError> {
//!     himuon_codegen::build::kernels(["sm_80", "sm_90a"])?;
//!     Ok(())
//! }
//! ```
//!
//! `himuon::bundles!()` in the crate gives what was built, and `himuon::cuda::CudaBackend::kernels` takes it.
//! Compiled ahead is the default variant: a variant that a tuning table or the model chooses is compiled where the program
//! runs, or passed over if no compiler is there.

mod attributes;
mod index;

use crate::compile::{CompileError, Compiler};
use crate::pipeline::{
    EmitError, Emitted, EmittedCompanion, class_of, emit, emit_companion, emit_coupling,
    is_coupled, kernel_of_normalised_rows, kernel_of_tiles,
};
use crate::render::RenderError;
use attributes::Declared;
use himuon_templates::{KernelSpec, VariantError, files};
use std::collections::BTreeMap;
use std::env;
use std::io::Write;
use std::path::PathBuf;

/// Folder of the bundles below `OUT_DIR`.
const FOLDER: &str = "himuon-kernels";
/// What `himuon::bundles!()` includes.
const INDEX: &str = "himuon_bundles.rs";
/// What decides which compiler is found.
const VARIABLES: [&str; 5] = [
    "HIMUON_NVRTC_PATH",
    "HIMUON_PTXAS_PATH",
    "HIMUON_NVDISASM_PATH",
    "CUDA_HOME",
    "CUDA_PATH",
];

/// Why the kernels were not built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// Not called from a build script.
    #[error("{variable} is not set: call this from build.rs, or name the folders by Build::new")]
    NotABuildScript {
        /// What cargo would have set.
        variable: &'static str,
    },
    /// A file or folder cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A kernel cannot be made.
    #[error(transparent)]
    Emit(#[from] EmitError),
}

/// What a build made.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Built {
    /// One per specification and target.
    pub kernels: Vec<Emitted>,
    /// What is launched beside them, one per target; empty where nothing is declared.
    pub companions: Vec<EmittedCompanion>,
    /// For people: what is not as they may expect.
    pub warnings: Vec<String>,
    /// Files that were searched for attributes.
    pub searched: Vec<PathBuf>,
}

/// Builds the kernels that the calling crate declares, for each target (as in `sm_86`), into `OUT_DIR`, and tells
/// cargo when to do so again. Without a CUDA compiler there is text alone, and cargo shows a warning.
///
/// # Errors
/// [`BuildError`].
pub fn kernels<'a>(targets: impl IntoIterator<Item = &'a str>) -> Result<Built, BuildError> {
    Build::of_this_crate()?.targets(targets).kernels()
}

/// A build of one crate.
#[derive(Clone, Debug)]
pub struct Build {
    crate_folder: PathBuf,
    out: PathBuf,
    targets: Vec<String>,
    row_normalised: bool,
}

impl Build {
    /// Of the crate whose build script calls this, into its `OUT_DIR`; for `sm_80` unless told otherwise.
    ///
    /// # Errors
    /// [`BuildError::NotABuildScript`].
    pub fn of_this_crate() -> Result<Build, BuildError> {
        let folder = |variable: &'static str| {
            env::var_os(variable)
                .map(PathBuf::from)
                .ok_or(BuildError::NotABuildScript { variable })
        };
        Ok(Build::new(
            folder("CARGO_MANIFEST_DIR")?,
            folder("OUT_DIR")?,
        ))
    }

    /// Of the crate in `crate_folder`, whose `src` is searched, into `out`; for `sm_80` unless told otherwise.
    pub fn new(crate_folder: impl Into<PathBuf>, out: impl Into<PathBuf>) -> Build {
        Build {
            crate_folder: crate_folder.into(),
            out: out.into(),
            targets: vec!["sm_80".to_owned()],
            row_normalised: false,
        }
    }

    /// For these architectures.
    pub fn targets<'a>(self, targets: impl IntoIterator<Item = &'a str>) -> Build {
        Build {
            targets: targets.into_iter().map(str::to_owned).collect(),
            ..self
        }
    }

    /// With what a group launches besides whose rows are normalised (`MuonOptions::row_normalisation`), of which the attributes
    /// say nothing.
    pub fn row_normalised(self) -> Build {
        Build {
            row_normalised: true,
            ..self
        }
    }

    /// Does it with the compiler that [`Compiler::locate`] finds, and tells cargo when to do so again.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn kernels(&self) -> Result<Built, BuildError> {
        let built = self.run(Compiler::locate())?;
        println!("cargo:rerun-if-changed=src");
        for variable in VARIABLES {
            println!("cargo:rerun-if-env-changed={variable}");
        }
        for warning in &built.warnings {
            println!("cargo:warning={}", warning.replace('\n', " "));
        }
        Ok(built)
    }

    /// Does it, with what [`Compiler::locate`] or the caller found.
    ///
    /// # Errors
    /// [`BuildError`]; that there is no compiler is a warning.
    pub fn run(&self, compiler: Result<Compiler, CompileError>) -> Result<Built, BuildError> {
        for target in &self.targets {
            class_of(target)?;
        }
        let Declared {
            specs,
            mut warnings,
            searched,
        } = attributes::declared_in(&self.crate_folder.join("src"))?;
        let compiler = match compiler {
            Ok(compiler) => Some(compiler),
            Err(_) if specs.is_empty() => None,
            Err(error) => {
                warnings.push(format!("kernels are shipped as source only: {error}"));
                None
            }
        };
        if compiler
            .as_ref()
            .is_some_and(|compiler| compiler.ptxas().is_none())
        {
            warnings
                .push("kernels are shipped as PTX without cubins: no ptxas beside NVRTC".into());
        }
        let kernels = self.emit_tiles(&specs, compiler.as_ref(), &mut warnings)?;
        let companions = match specs.is_empty() {
            true => Vec::new(),
            false => self.emit_companions(&specs, compiler.as_ref())?,
        };
        let index = self.out.join(INDEX);
        let text = index::text(&kernels, &companions);
        files::write(&index, |file| file.write_all(text.as_bytes())).map_err(|source| {
            BuildError::File {
                path: index,
                source,
            }
        })?;
        Ok(Built {
            kernels,
            companions,
            warnings,
            searched,
        })
    }

    /// The kernels of the tiles of all specifications, each once for each target.
    fn emit_tiles(
        &self,
        specs: &[KernelSpec],
        compiler: Option<&Compiler>,
        warnings: &mut Vec<String>,
    ) -> Result<Vec<Emitted>, BuildError> {
        let mut kernels = Vec::new();
        let mut done = Vec::new();
        for spec in specs {
            let normalised = self.normalised(spec);
            if self.row_normalised && normalised.is_none() {
                warnings.push(format!("{spec}: its rows are normalised on the CPU alone"));
            }
            let mut without = BTreeMap::new();
            for target in &self.targets {
                let step = ("", kernel_of_tiles(spec, class_of(target)?));
                let map = normalised.clone().map(|map| (" for normalised rows", map));
                for (what, tiles) in [step].into_iter().chain(map) {
                    let tiles = (target, tiles);
                    if done.contains(&tiles) {
                        continue;
                    }
                    match self.emit(&tiles.1, target, compiler)? {
                        Ok(emitted) => kernels.push(emitted),
                        Err(reason) => {
                            without.insert(what, reason);
                        }
                    }
                    done.push(tiles);
                }
            }
            for (what, reason) in without {
                warnings.push(format!(
                    "{spec} has no kernel{what}, which is left out: {reason}"
                ));
            }
        }
        Ok(kernels)
    }

    /// What maps the tiles where rows are normalised, as far as that is wanted.
    fn normalised(&self, spec: &KernelSpec) -> Option<KernelSpec> {
        kernel_of_normalised_rows(spec).filter(|_| self.row_normalised)
    }

    /// One kernel; why there is none, where a specification has no kernel of its own.
    fn emit(
        &self,
        spec: &KernelSpec,
        target: &str,
        compiler: Option<&Compiler>,
    ) -> Result<Result<Emitted, VariantError>, BuildError> {
        match emit(spec, None, target, compiler, &self.folder(target)) {
            Ok(emitted) => Ok(Ok(emitted)),
            Err(EmitError::Render(RenderError::Variant(
                reason @ (VariantError::HostCriterion { .. } | VariantError::Coarse { .. }),
            ))) => Ok(Err(reason)),
            Err(error) => Err(error.into()),
        }
    }

    /// The companion, and what couples tiles or normalises rows, once for each storage.
    fn emit_companions(
        &self,
        specs: &[KernelSpec],
        compiler: Option<&Compiler>,
    ) -> Result<Vec<EmittedCompanion>, BuildError> {
        let mut coupled: Vec<&KernelSpec> = Vec::new();
        let has_launches_around =
            |spec: &&KernelSpec| is_coupled(spec) || self.normalised(spec).is_some();
        for spec in specs.iter().filter(has_launches_around) {
            if coupled.iter().all(|known| known.storage != spec.storage) {
                coupled.push(spec);
            }
        }
        let mut companions = Vec::new();
        for target in &self.targets {
            let folder = self.folder(target);
            companions.push(emit_companion(target, compiler, &folder)?);
            for spec in &coupled {
                companions.push(emit_coupling(spec, target, compiler, &folder)?);
            }
        }
        Ok(companions)
    }

    fn folder(&self, target: &str) -> PathBuf {
        self.out.join(FOLDER).join(target)
    }
}
