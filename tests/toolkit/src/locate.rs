//! Finding the three tools in the usual places.

use std::env;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::error::ToolkitError;
use crate::{install, nvrtc};

/// NVRTC below this version does not know `sm_120`.
const OLDEST_NVRTC: (i32, i32) = (12, 8);

/// NVRTC, `ptxas` and `nvdisasm`, each an existing file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toolkit {
    nvrtc: PathBuf,
    ptxas: PathBuf,
    nvdisasm: PathBuf,
}

/// What one root (or the environment) offers.
#[derive(Debug, Clone, Default)]
struct Parts {
    nvrtc: Option<PathBuf>,
    ptxas: Option<PathBuf>,
    nvdisasm: Option<PathBuf>,
}

impl Toolkit {
    /// Finds the tools, or installs the pinned wheels below the target folder. What was found once is the process's: to ask
    /// Python where its packages are takes longer than many a test.
    ///
    /// # Errors
    ///
    /// [`ToolkitError::NotFound`] if they are nowhere and cannot be installed;
    /// [`ToolkitError::OverrideMissing`] if an environment variable names a missing file.
    pub fn locate_or_install() -> Result<Self, ToolkitError> {
        static FOUND: OnceLock<Toolkit> = OnceLock::new();
        if let Some(found) = FOUND.get() {
            return Ok(found.clone());
        }
        let found = Self::search()?;
        Ok(FOUND.get_or_init(|| found).clone())
    }

    fn search() -> Result<Self, ToolkitError> {
        let overrides = Parts::from_environment()?;
        let mut looked_at = String::new();
        for root in usual_roots().into_iter().chain([install::folder()]) {
            let parts = overrides.clone().or(Parts::in_root(&root));
            match parts.complete() {
                Ok(toolkit) => return Ok(toolkit),
                Err(missing) => {
                    // Writing to a string cannot fail.
                    let _ = writeln!(looked_at, "  {}: {missing}", root.display());
                }
            }
        }
        let installed = install::install().map_err(|reason| ToolkitError::NotFound {
            looked_at: looked_at.trim_end().to_owned(),
            reason,
            wheels: install::PINNED_WHEELS.join(" "),
        })?;
        overrides
            .or(Parts::in_root(&installed))
            .complete()
            .map_err(|missing| ToolkitError::NotFound {
                looked_at: looked_at.trim_end().to_owned(),
                reason: format!("the wheels were installed, but there is {missing}"),
                wheels: install::PINNED_WHEELS.join(" "),
            })
    }

    /// The shared library of NVRTC, by absolute path.
    pub fn nvrtc_library(&self) -> &Path {
        &self.nvrtc
    }

    /// The PTX assembler.
    pub fn ptxas(&self) -> &Path {
        &self.ptxas
    }

    /// The disassembler of cubins.
    pub fn nvdisasm(&self) -> &Path {
        &self.nvdisasm
    }
}

impl Parts {
    fn from_environment() -> Result<Self, ToolkitError> {
        let named = |variable: &'static str| match env::var_os(variable).map(PathBuf::from) {
            Some(path) if !path.is_file() => Err(ToolkitError::OverrideMissing { variable, path }),
            other => Ok(other),
        };
        Ok(Self {
            nvrtc: named("HIMUON_NVRTC_PATH")?,
            ptxas: named("HIMUON_PTXAS_PATH")?,
            nvdisasm: named("HIMUON_NVDISASM_PATH")?,
        })
    }

    /// The tools below `root`, in any of the layouts of toolkits and wheels.
    fn in_root(root: &Path) -> Self {
        let library_folders = [
            "lib64",
            "lib",
            "targets/x86_64-linux/lib",
            "targets/sbsa-linux/lib",
            "nvidia/cu13/lib",
            "nvidia/cu12/lib",
            "nvidia/cuda_nvrtc/lib",
        ];
        let program = |name: &str| {
            [
                "bin",
                "nvidia/cu13/bin",
                "nvidia/cu12/bin",
                "nvidia/cuda_nvcc/bin",
                "nvidia/cuda_nvdisasm/bin",
            ]
            .iter()
            .map(|folder| root.join(folder).join(name))
            .find(|path| path.is_file())
        };
        Self {
            nvrtc: library_folders
                .iter()
                .find_map(|folder| nvrtc_in(&root.join(folder))),
            ptxas: program("ptxas"),
            nvdisasm: program("nvdisasm"),
        }
    }

    fn or(self, other: Self) -> Self {
        Self {
            nvrtc: self.nvrtc.or(other.nvrtc),
            ptxas: self.ptxas.or(other.ptxas),
            nvdisasm: self.nvdisasm.or(other.nvdisasm),
        }
    }

    /// All three, or the words for what is missing.
    fn complete(self) -> Result<Toolkit, String> {
        let (Some(nvrtc), Some(ptxas), Some(nvdisasm)) = (&self.nvrtc, &self.ptxas, &self.nvdisasm)
        else {
            let missing: Vec<&str> = [
                self.nvrtc.is_none().then_some("libnvrtc.so"),
                self.ptxas.is_none().then_some("ptxas"),
                self.nvdisasm.is_none().then_some("nvdisasm"),
            ]
            .into_iter()
            .flatten()
            .collect();
            return Err(format!("no {}", missing.join(", no ")));
        };
        let version = nvrtc::version(nvrtc).map_err(|error| error.to_string())?;
        if version < OLDEST_NVRTC {
            let ((major, minor), (oldest_major, oldest_minor)) = (version, OLDEST_NVRTC);
            return Err(format!(
                "NVRTC {major}.{minor} is older than {oldest_major}.{oldest_minor}"
            ));
        }
        Ok(Toolkit {
            nvrtc: nvrtc.clone(),
            ptxas: ptxas.clone(),
            nvdisasm: nvdisasm.clone(),
        })
    }
}

/// The newest `libnvrtc.so*` of a folder; never the `libnvrtc-builtins` beside it.
fn nvrtc_in(folder: &Path) -> Option<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            path.file_name()
                .and_then(|name| name.to_str())
                .is_some_and(|name| name.starts_with("libnvrtc.so"))
                && path.is_file()
        })
        .collect();
    found.sort();
    found.pop()
}

fn usual_roots() -> Vec<PathBuf> {
    let from_environment = ["CUDA_HOME", "CUDA_PATH"]
        .into_iter()
        .filter_map(env::var_os);
    from_environment
        .filter(|value| !value.is_empty())
        .chain([OsString::from("/usr/local/cuda")])
        .map(PathBuf::from)
        .chain(site_packages())
        .collect()
}

/// The site-packages folders of the Python that a user would call.
fn site_packages() -> Vec<PathBuf> {
    let script =
        "import site; print(*site.getsitepackages(), site.getusersitepackages(), sep='\\n')";
    let Ok(output) = Command::new("python3").args(["-c", script]).output() else {
        return Vec::new();
    };
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(PathBuf::from)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(root: &Path, relative: &str) {
        let path = root.join(relative);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "").unwrap();
    }

    #[test]
    fn each_layout_is_recognised() {
        let layouts = [
            ["lib64/libnvrtc.so.12", "bin/ptxas", "bin/nvdisasm"],
            [
                "nvidia/cu13/lib/libnvrtc.so.13",
                "nvidia/cu13/bin/ptxas",
                "nvidia/cu13/bin/nvdisasm",
            ],
            [
                "nvidia/cuda_nvrtc/lib/libnvrtc.so.12",
                "nvidia/cuda_nvcc/bin/ptxas",
                "nvidia/cuda_nvdisasm/bin/nvdisasm",
            ],
        ];
        for layout in layouts {
            let root = tempfile::tempdir().unwrap();
            for file in layout {
                touch(root.path(), file);
            }
            let parts = Parts::in_root(root.path());
            assert_eq!(parts.nvrtc, Some(root.path().join(layout[0])));
            assert_eq!(parts.ptxas, Some(root.path().join(layout[1])));
            assert_eq!(parts.nvdisasm, Some(root.path().join(layout[2])));
        }
    }

    #[test]
    fn the_builtins_library_is_not_taken_for_nvrtc() {
        let root = tempfile::tempdir().unwrap();
        touch(root.path(), "lib/libnvrtc-builtins.so.13.5");
        assert_eq!(Parts::in_root(root.path()).nvrtc, None);
    }

    #[test]
    fn a_missing_part_is_named() {
        let root = tempfile::tempdir().unwrap();
        touch(root.path(), "bin/ptxas");
        let missing = Parts::in_root(root.path()).complete().unwrap_err();
        assert_eq!(missing, "no libnvrtc.so, no nvdisasm");
    }
}
