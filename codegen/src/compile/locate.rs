//! Finding NVRTC, `ptxas` and `nvdisasm`: named by the environment, in a toolkit, or in Python's packages.

use super::CompileError;
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{OnceLock, PoisonError, RwLock};

/// NVRTC, and `ptxas` and `nvdisasm` where they are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiler {
    pub(super) nvrtc: PathBuf,
    pub(super) ptxas: Option<PathBuf>,
    pub(super) nvdisasm: Option<PathBuf>,
}

impl Compiler {
    /// NVRTC alone, from the library at `nvrtc`: PTX and no cubins.
    pub fn new(nvrtc: impl Into<PathBuf>) -> Compiler {
        Compiler {
            nvrtc: nvrtc.into(),
            ptxas: None,
            nvdisasm: None,
        }
    }

    /// With an assembler: cubins and resources.
    pub fn with_ptxas(self, ptxas: impl Into<PathBuf>) -> Compiler {
        Compiler {
            ptxas: Some(ptxas.into()),
            ..self
        }
    }

    /// With a disassembler: instruction counts.
    pub fn with_nvdisasm(self, nvdisasm: impl Into<PathBuf>) -> Compiler {
        Compiler {
            nvdisasm: Some(nvdisasm.into()),
            ..self
        }
    }

    /// Looks at `HIMUON_NVRTC_PATH` (`HIMUON_PTXAS_PATH`, `HIMUON_NVDISASM_PATH`), then below `CUDA_HOME`, `CUDA_PATH`, the
    /// folders of [`look_below`], `/usr/local/cuda` and the package folders of `python3`, in this order.
    ///
    /// # Errors
    /// [`CompileError::NotFound`] when there is no NVRTC.
    pub fn locate() -> Result<Compiler, CompileError> {
        let program = |variable: &str, name: &str| {
            named(variable).or_else(|| find(|root| program_in(root, name)))
        };
        Ok(Compiler {
            ptxas: program("HIMUON_PTXAS_PATH", "ptxas"),
            nvdisasm: program("HIMUON_NVDISASM_PATH", "nvdisasm"),
            ..Compiler::locate_nvrtc()?
        })
    }

    /// As [`Compiler::locate`], NVRTC alone: what compiles while a program runs needs no more, and where it is named or lies
    /// in a toolkit no Python has to be started.
    ///
    /// # Errors
    /// As there.
    pub fn locate_nvrtc() -> Result<Compiler, CompileError> {
        match named("HIMUON_NVRTC_PATH").or_else(|| find(nvrtc_in)) {
            Some(nvrtc) => Ok(Compiler::new(nvrtc)),
            None => Err(CompileError::NotFound {
                looked_at: roots()
                    .iter()
                    .chain(python_packages())
                    .map(|root| root.display().to_string())
                    .collect::<Vec<_>>()
                    .join(", "),
            }),
        }
    }

    /// The NVRTC library.
    pub fn nvrtc(&self) -> &Path {
        &self.nvrtc
    }

    /// The `ptxas` program.
    pub fn ptxas(&self) -> Option<&Path> {
        self.ptxas.as_deref()
    }

    /// The `nvdisasm` program.
    pub fn nvdisasm(&self) -> Option<&Path> {
        self.nvdisasm.as_deref()
    }
}

/// Folders that a program names, for all that is located later.
static NAMED: RwLock<Vec<PathBuf>> = RwLock::new(Vec::new());

/// Looks below these folders too, before `/usr/local/cuda`: those of a program that knows where packages lie, as a Python
/// interpreter does of its own. Replaces the folders of an earlier call.
pub fn look_below(folders: Vec<PathBuf>) {
    *NAMED.write().unwrap_or_else(PoisonError::into_inner) = folders;
}

/// A file that the environment names.
fn named(variable: &str) -> Option<PathBuf> {
    env::var_os(variable)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}

/// The first that `tool` finds below one of all roots.
fn find(tool: impl Fn(&Path) -> Option<PathBuf>) -> Option<PathBuf> {
    let below = |roots: &[PathBuf]| roots.iter().find_map(|root| tool(root));
    below(&roots()).or_else(|| below(python_packages()))
}

/// All roots but [`python_packages`], which come last.
fn roots() -> Vec<PathBuf> {
    let folders = NAMED.read().unwrap_or_else(PoisonError::into_inner).clone();
    ["CUDA_HOME", "CUDA_PATH"]
        .into_iter()
        .filter_map(named)
        .chain(folders)
        .chain([PathBuf::from("/usr/local/cuda")])
        .collect()
}

/// The package folders of `python3`. It is started once, if at all: that takes longer than all other places together.
fn python_packages() -> &'static [PathBuf] {
    static FOLDERS: OnceLock<Vec<PathBuf>> = OnceLock::new();
    FOLDERS.get_or_init(|| {
        let script =
            "import site; print(*site.getsitepackages(), site.getusersitepackages(), sep='\\n')";
        Command::new("python3")
            .args(["-c", script])
            .output()
            .map(|output| {
                String::from_utf8_lossy(&output.stdout)
                    .lines()
                    .map(PathBuf::from)
                    .collect()
            })
            .unwrap_or_default()
    })
}

/// The newest `libnvrtc.so*` below `root`; never the `libnvrtc-builtins` beside it.
fn nvrtc_in(root: &Path) -> Option<PathBuf> {
    let folders = [
        "lib64",
        "lib",
        "nvidia/cu13/lib",
        "nvidia/cu12/lib",
        "nvidia/cuda_nvrtc/lib",
    ];
    folders.iter().find_map(|folder| {
        let mut found: Vec<PathBuf> = std::fs::read_dir(root.join(folder))
            .ok()?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| {
                path.file_name()
                    .and_then(|name| name.to_str())
                    .is_some_and(|name| name.starts_with("libnvrtc.so"))
            })
            .collect();
        found.sort();
        found.pop()
    })
}

fn program_in(root: &Path, name: &str) -> Option<PathBuf> {
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
}

#[cfg(test)]
mod tests {
    use super::{Compiler, look_below, nvrtc_in, program_in, roots};

    #[test]
    fn wheels_and_toolkits_are_recognised_and_builtins_are_not_the_compiler() {
        let root = std::env::temp_dir().join(format!("himuon-locate-{}", std::process::id()));
        let put = |relative: &str| {
            let path = root.join(relative);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        };
        put("lib/libnvrtc-builtins.so.13.5");
        assert_eq!(nvrtc_in(&root), None);
        look_below(vec![root.clone()]);
        assert!(roots().contains(&root));
        look_below(Vec::new());
        assert!(!roots().contains(&root));
        put("nvidia/cu13/lib/libnvrtc.so.13");
        put("nvidia/cu13/bin/ptxas");
        assert_eq!(
            nvrtc_in(&root),
            Some(root.join("nvidia/cu13/lib/libnvrtc.so.13"))
        );
        assert_eq!(
            program_in(&root, "ptxas"),
            Some(root.join("nvidia/cu13/bin/ptxas"))
        );
        std::fs::remove_dir_all(&root).unwrap();
    }

    /// In a process of its own, whose only `python3` tells that it was started.
    #[cfg(unix)]
    #[test]
    fn python_is_started_for_what_lies_nowhere_else_alone() {
        use std::os::unix::fs::PermissionsExt;

        const CHILD: &str = "HIMUON_TEST_LOCATE_CHILD";
        match std::env::var(CHILD).as_deref() {
            Ok("nvrtc") => return drop(Compiler::locate_nvrtc().unwrap()),
            Ok(_) => return drop(Compiler::locate().unwrap()),
            Err(_) => {}
        }
        if std::path::Path::new("/usr/local/cuda").exists() {
            println!("SKIPPED: /usr/local/cuda exists and is searched before Python is");
            return;
        }
        let folder =
            std::env::temp_dir().join(format!("himuon-locate-python-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (python, mark) = (folder.join("python3"), folder.join("started"));
        std::fs::write(&python, "#!/bin/sh\n: > \"${0%/*}/started\"\n").unwrap();
        std::fs::set_permissions(&python, PermissionsExt::from_mode(0o755)).unwrap();
        for (what, starts) in [("nvrtc", false), ("all", true)] {
            let output = std::process::Command::new(std::env::current_exe().unwrap())
                .args([
                    "--exact",
                    "compile::locate::tests::python_is_started_for_what_lies_nowhere_else_alone",
                ])
                .env_clear()
                .env(CHILD, what)
                .env("PATH", &folder)
                .env("HIMUON_NVRTC_PATH", "/named/libnvrtc.so")
                .output()
                .unwrap();
            let printed = String::from_utf8_lossy(&output.stdout);
            assert!(printed.contains("1 passed"), "{printed}");
            assert_eq!(mark.exists(), starts, "{what}");
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
