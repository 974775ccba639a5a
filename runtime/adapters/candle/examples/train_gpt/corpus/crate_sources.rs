//! The default text: Rust sources of dependencies, in the versions of `Cargo.lock`, where cargo has unpacked them.

use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::path::{Path, PathBuf};

/// The crates, in the order in which their sources are joined. All are dependencies of this package.
const CRATES: [&str; 10] = [
    "candle-core",
    "candle-nn",
    "rayon",
    "rayon-core",
    "serde_json",
    "plotters",
    "half",
    "num-traits",
    "indicatif",
    "anyhow",
];

/// A description and the joined sources: per crate, the files under `src` in the order of their paths.
pub(crate) fn read_crate_sources() -> Result<(String, Vec<u8>)> {
    let lock = read_lock()?;
    let mut named = Vec::new();
    let mut text = Vec::new();
    for name in CRATES {
        let version = locked_version(&lock, name)?;
        let folder = unpacked(&format!("{name}-{version}"))?;
        for file in rust_files(&folder.join("src"))? {
            text.extend(
                fs::read(&file).with_context(|| format!("{} cannot be read", file.display()))?,
            );
        }
        named.push(format!("{name} {version}"));
    }
    Ok((format!("Rust sources of {}", named.join(", ")), text))
}

/// The nearest `Cargo.lock` at or above this package.
fn read_lock() -> Result<String> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    match package
        .ancestors()
        .map(|folder| folder.join("Cargo.lock"))
        .find(|path| path.is_file())
    {
        Some(path) => {
            fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))
        }
        None => bail!(
            "no Cargo.lock at or above {}; name a text with --text FILE",
            package.display()
        ),
    }
}

/// The one version of a crate in a lock file.
fn locked_version<'a>(lock: &'a str, name: &str) -> Result<&'a str> {
    let header = format!("name = \"{name}\"");
    let mut lines = lock.lines();
    let mut versions = Vec::new();
    while let Some(line) = lines.next() {
        if line == header {
            versions.extend(
                lines
                    .next()
                    .and_then(|l| l.strip_prefix("version = \"")?.strip_suffix('"')),
            );
        }
    }
    ensure!(
        versions.len() == 1,
        "Cargo.lock names {} versions of {name} ({}), expected one; name a text with --text FILE",
        versions.len(),
        versions.join(", ")
    );
    Ok(versions[0])
}

/// The folder into which cargo has unpacked a crate.
fn unpacked(crate_folder: &str) -> Result<PathBuf> {
    let cargo_home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cargo")))
        .context("neither CARGO_HOME nor a home folder is known; name a text with --text FILE")?;
    let sources = cargo_home.join("registry").join("src");
    let mut registries: Vec<PathBuf> = fs::read_dir(&sources)
        .with_context(|| {
            format!(
                "{} cannot be read; name a text with --text FILE",
                sources.display()
            )
        })?
        .filter_map(|entry| Some(entry.ok()?.path().join(crate_folder)))
        .filter(|path| path.is_dir())
        .collect();
    registries.sort();
    match registries.into_iter().next() {
        Some(folder) => Ok(folder),
        None => bail!(
            "{crate_folder} is not unpacked under {}; run `cargo fetch`, or name a text with --text FILE",
            sources.display()
        ),
    }
}

/// All `.rs` files under a folder, sorted by their path's parts.
fn rust_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in
            fs::read_dir(&folder).with_context(|| format!("{} cannot be read", folder.display()))?
        {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = "[[package]]\nname = \"a\"\nversion = \"1.2.3\"\n\n[[package]]\nname = \"b\"\nversion = \"0.1.0\"\n\n\
                        [[package]]\nname = \"b\"\nversion = \"0.2.0\"\n";

    #[test]
    fn versions_come_from_the_lock() -> Result<()> {
        assert_eq!(locked_version(LOCK, "a")?, "1.2.3");
        let error = locked_version(LOCK, "b")
            .err()
            .map(|e| e.to_string())
            .unwrap_or_default();
        assert!(
            error.contains("2 versions of b (0.1.0, 0.2.0), expected one"),
            "{error}"
        );
        assert!(locked_version(LOCK, "c").is_err());
        Ok(())
    }

    #[test]
    fn the_default_text_is_a_few_megabytes_of_rust() -> Result<()> {
        let (description, text) = read_crate_sources()?;
        assert!(CRATES.iter().all(|name| description.contains(name)));
        assert!(
            (2_000_000..20_000_000).contains(&text.len()),
            "{} bytes",
            text.len()
        );
        assert!(text.windows(3).filter(|w| w == b"fn ").count() > 1000);
        Ok(())
    }
}
