//! Bundles on disk, as `himuon emit --out` and build scripts write them, for programs that do not carry theirs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use himuon_templates::CompiledKernel;

use crate::cuda::error::CudaError;

/// Reads the bundle that `folder` is, or every bundle in it or in the folders in it, for
/// [`CudaBackend::kernels`](crate::cuda::CudaBackend::kernels). What is read stays in memory for as long as the process runs, anew with each
/// call: read once what several optimizers use.
///
/// # Errors
/// [`CudaError::Bundles`]: no bundle is there, one holds no PTX, or a file cannot be read.
pub fn read_bundles(folder: impl AsRef<Path>) -> Result<&'static [CompiledKernel], CudaError> {
    let folder = folder.as_ref();
    let mut kernels = Vec::new();
    if is_bundle(folder) {
        kernels.push(read(folder)?);
    }
    for inner in folders(folder)? {
        match is_bundle(&inner) {
            true => kernels.push(read(&inner)?),
            false => {
                for innermost in folders(&inner)?.iter().filter(|path| is_bundle(path)) {
                    kernels.push(read(innermost)?);
                }
            }
        }
    }
    match kernels.is_empty() {
        true => Err(refused(
            folder,
            "no bundle is in it: it contains no folder that has a kernel.cu",
        )),
        false => Ok(Vec::leak(kernels)),
    }
}

fn refused(path: &Path, reason: impl ToString) -> CudaError {
    CudaError::Bundles {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}

fn is_bundle(folder: &Path) -> bool {
    folder.join("kernel.cu").is_file()
}

/// The folders in a folder, by name.
fn folders(folder: &Path) -> Result<Vec<PathBuf>, CudaError> {
    let list = || -> io::Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                found.push(path);
            }
        }
        found.sort();
        Ok(found)
    };
    list().map_err(|error| refused(folder, error))
}

fn read(folder: &Path) -> Result<CompiledKernel, CudaError> {
    let optional = |name: &str| match fs::read(folder.join(name)) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(refused(&folder.join(name), error)),
    };
    let text = |name: &str| {
        let bytes = optional(name)?;
        let text = bytes.map(String::from_utf8).transpose();
        text.map_err(|error| refused(&folder.join(name), error))
    };
    let ptx = text("kernel.ptx")?.ok_or_else(|| {
        refused(
            folder,
            "it has no kernel.ptx: it was made without a CUDA compiler",
        )
    })?;
    let target = target_of(&ptx)
        .ok_or_else(|| refused(&folder.join("kernel.ptx"), "it names no .target"))?
        .to_owned();
    let (source, manifest) = (text("kernel.cu")?, text("manifest.json")?);
    let cubin = optional("kernel.cubin")?;
    let id = folder.file_name().unwrap_or_default().to_string_lossy();
    // Nothing fails from here on.
    Ok(CompiledKernel {
        id: String::leak(id.into_owned()),
        specification: "",
        target: String::leak(target),
        text: String::leak(source.unwrap_or_default()),
        manifest: String::leak(manifest.unwrap_or_default()),
        ptx: Some(String::leak(ptx)),
        cubin: cubin.map(|bytes| &*Vec::leak(bytes)),
    })
}

/// What PTX was compiled for: of the line `.target sm_90a, ...` the first word behind.
fn target_of(ptx: &str) -> Option<&str> {
    let line = ptx.lines().find_map(|line| line.strip_prefix(".target"))?;
    line.split(',').next().map(str::trim)
}
