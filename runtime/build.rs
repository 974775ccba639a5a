//! Digests of the CPU kernels' source, so that tuned times of other source are not believed.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io};

/// Files of their own, by name, which the others do not use.
const SETS: [&str; 3] = ["avx512", "avx2", "portable"];

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/cpu");
    let mut files = Vec::new();
    collect(Path::new("src/cpu"), &mut files)?;
    files.sort();
    for set in SETS {
        let mut digest = Digest::new();
        digest.add(build().as_bytes());
        for file in &files {
            let name = file.file_stem().and_then(|stem| stem.to_str());
            let of_another = name.is_some_and(|name| SETS.contains(&name) && name != set);
            if !of_another {
                digest.add(&fs::read(file)?);
            }
        }
        println!(
            "cargo::rustc-env=HIMUON_CPU_DIGEST_{}={:016x}",
            set.to_uppercase(),
            digest.0
        );
    }
    Ok(())
}

/// The source files below a folder, tests aside.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            if !path.ends_with("tests") {
                collect(&path, files)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// What else decides about the machine code: compiler, optimisation, flags.
fn build() -> String {
    let compiler = env::var_os("RUSTC")
        .and_then(|rustc| Command::new(rustc).arg("--version").output().ok())
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let variable = |name| env::var(name).unwrap_or_default();
    [
        compiler.unwrap_or_default(),
        variable("OPT_LEVEL"),
        variable("TARGET"),
        variable("CARGO_ENCODED_RUSTFLAGS"),
    ]
    .join("|")
}

/// FNV-1a in 64 bits.
struct Digest(u64);

impl Digest {
    fn new() -> Self {
        Digest(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}
