//! Compiled kernels on disk: `modules/<id>/` with the kernel's text and, by architecture and compiler, what was made of it.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use himuon_codegen::compile::Part;

use super::compiler::Made;
use super::image::Image;
use crate::tuning::{cache_folder, read_only};

/// Stands before the version in a file's name: `sm_86-nvrtc13.5.cubin`, `sm_86-step-nvrtc13.5.cubin`.
const MARK: &str = "-nvrtc";

/// Major and minor version of a compiler.
type Version = (u32, u32);

/// The right to compile a part of a kernel.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

/// One kernel's folder, for one target and a part of the text.
#[derive(Debug)]
pub(super) struct ModuleCache {
    folder: PathBuf,
    target: String,
    part: Part,
}

impl ModuleCache {
    /// The folder, if it can be used: there is a cache, and what lies there is this text's.
    pub(super) fn of(id: &str, text: &str, target: &str, part: Part) -> Option<Self> {
        let folder = match modules() {
            Some(modules) => modules.join(id),
            None => {
                tracing::debug!("there is no cache folder; compiled kernels are not kept");
                return None;
            }
        };
        match fs::read_to_string(folder.join("kernel.cu")) {
            Ok(kept) if kept != text => {
                tracing::warn!(
                    "{}: it holds another text of this name; it is left alone and not used",
                    folder.display()
                );
                None
            }
            _ => Some(ModuleCache {
                folder,
                target: target.to_owned(),
                part,
            }),
        }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// What the compiler of this version made: of the part, else of all. Without a compiler: what the newest one made, and
    /// what somebody put here without a version, `<target>.cubin` or `.ptx`, with all kernels.
    pub(super) fn images(&self, version: Option<&str>) -> Vec<Image> {
        let made = |version: &str| {
            let mut names = [self.part, Part::All]
                .map(|part| self.name_of(part, version))
                .to_vec();
            names.dedup();
            names.iter().flat_map(|name| self.read(name)).collect()
        };
        if let Some(version) = version {
            return made(version);
        }
        let prefixes = [self.part, Part::All].map(|part| self.name_of(part, ""));
        let names = names_in(&self.folder);
        let own =
            (names.iter()).filter(|name| prefixes.iter().any(|prefix| name.starts_with(prefix)));
        let newest = own.filter_map(|name| version_in(name)).max();
        let mut images: Vec<Image> = newest
            .map(|(major, minor)| made(&format!("{major}.{minor}")))
            .unwrap_or_default();
        images.extend(self.read(&self.target));
        images
    }

    /// Keeps everybody else from compiling the same part of the text until what it gives is dropped; `None`: the cache is only to be read.
    /// Waits where somebody does so. It ends with the process.
    pub(super) fn lock(&self) -> io::Result<Option<Lock>> {
        if read_only() {
            return Ok(None);
        }
        fs::create_dir_all(&self.folder)?;
        let name = format!("{}{}.lock", self.target, suffix(self.part));
        let file = File::create(self.folder.join(name))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let folder = self.folder.display();
                tracing::info!("{folder}: this kernel is being compiled elsewhere and waited for");
                himuon_templates::files::lock(&file)?;
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
        Ok(Some(Lock { _file: file }))
    }

    /// Keeps what was compiled, file by file whole or not at all.
    pub(super) fn store(&self, _lock: &Lock, text: &str, made: &Made) -> io::Result<()> {
        let put = |name: &str, bytes: &[u8]| {
            himuon_templates::files::write(&self.folder.join(name), |file| file.write_all(bytes))
        };
        let name = self.name_of(self.part, &made.version);
        put("kernel.cu", text.as_bytes())?;
        if let Some(cubin) = &made.cubin {
            put(&format!("{name}.cubin"), cubin)?;
        }
        put(&format!("{name}.ptx"), made.ptx.as_bytes())
    }

    /// Name without extension of what a compiler made.
    fn name_of(&self, part: Part, version: &str) -> String {
        format!("{}{}{MARK}{version}", self.target, suffix(part))
    }

    fn read(&self, name: &str) -> Vec<Image> {
        let file = |extension: &str| self.folder.join(format!("{name}.{extension}"));
        let cubin = fs::read(file("cubin")).ok().map(Image::Cubin);
        let ptx = fs::read_to_string(file("ptx")).ok().map(Image::Ptx);
        cubin.into_iter().chain(ptx).collect()
    }
}

/// What of the text is in a file, as its name says.
fn suffix(part: Part) -> &'static str {
    match part {
        Part::All => "",
        Part::Step => "-step",
        Part::Map => "-map",
    }
}

/// The newest compiler that any kernel of the cache was made by, as `13.5`.
pub(super) fn newest_version() -> Option<String> {
    let kernels = fs::read_dir(modules()?).ok()?;
    let versions = kernels.filter_map(|entry| {
        let names = names_in(&entry.ok()?.path());
        names.iter().filter_map(|name| version_in(name)).max()
    });
    let (major, minor) = versions.max()?;
    Some(format!("{major}.{minor}"))
}

fn modules() -> Option<PathBuf> {
    Some(cache_folder().ok()?.join("modules"))
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect()
}

/// The version in the name of a compiled file.
fn version_in(name: &str) -> Option<Version> {
    let (_, rest) = name.split_once(MARK)?;
    let version = rest
        .strip_suffix(".cubin")
        .or_else(|| rest.strip_suffix(".ptx"))?;
    let (major, minor) = version.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(version: &str) -> Made {
        Made {
            cubin: None,
            ptx: format!("ptx of {version}"),
            version: version.to_owned(),
        }
    }

    #[test]
    fn each_compiler_has_files_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let cache = ModuleCache {
            folder: folder.path().join("k"),
            target: "sm_86".to_owned(),
            part: Part::Step,
        };
        assert_eq!(cache.images(None), []);
        // As numbers, not as text: 12.10 is newer than 12.9.
        for version in ["12.9", "12.10"] {
            let lock = cache.lock().unwrap().unwrap();
            cache.store(&lock, "text", &kept(version)).unwrap();
        }
        let ptx = |text: &str| Image::Ptx(text.to_owned());
        assert_eq!(cache.images(Some("12.9")), [ptx("ptx of 12.9")]);
        assert_eq!(cache.images(Some("13.5")), []);
        assert_eq!(cache.images(None), [ptx("ptx of 12.10")]);
        fs::write(cache.folder.join("sm_86.cubin"), "by hand").unwrap();
        assert_eq!(
            cache.images(None),
            [ptx("ptx of 12.10"), Image::Cubin(b"by hand".to_vec())]
        );
        assert_eq!(cache.images(Some("13.5")), []);
    }

    #[test]
    fn a_part_is_found_in_its_own_files_and_in_those_of_all() {
        let folder = tempfile::tempdir().unwrap();
        let cache = |part| ModuleCache {
            folder: folder.path().join("k"),
            target: "sm_86".to_owned(),
            part,
        };
        let kept_of = |text: &str| Made {
            ptx: text.to_owned(),
            ..kept("13.5")
        };
        let found = |part| -> [Vec<Image>; 2] {
            [Some("13.5"), None].map(|version| cache(part).images(version))
        };
        let ptx = |text: &str| Image::Ptx(text.to_owned());
        let store = |part, text: &str| {
            let cache = cache(part);
            let lock = cache.lock().unwrap().unwrap();
            cache.store(&lock, "text", &kept_of(text)).unwrap();
        };
        store(Part::Step, "step");
        assert_eq!(found(Part::Step), [[ptx("step")], [ptx("step")]]);
        assert_eq!(found(Part::Map), [[], []]);
        assert_eq!(found(Part::All), [[], []]);
        store(Part::All, "all");
        let both = vec![ptx("step"), ptx("all")];
        assert_eq!(found(Part::Step), [both.clone(), both]);
        for part in [Part::Map, Part::All] {
            assert_eq!(found(part)[0], found(part)[1]);
            assert_eq!(found(part)[0].first(), Some(&ptx("all")));
        }
    }

    #[test]
    fn versions_in_names() {
        assert_eq!(version_in("sm_90a-nvrtc13.5.cubin"), Some((13, 5)));
        assert_eq!(version_in("sm_90a-step-nvrtc13.5.ptx"), Some((13, 5)));
        assert_eq!(version_in("sm_90a.cubin"), None);
        assert_eq!(version_in("sm_90a-nvrtc13.5.partial"), None);
    }
}
