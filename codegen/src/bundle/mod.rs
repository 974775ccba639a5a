//! A kernel as a folder that needs nothing else: text, PTX, cubin, and a manifest that says how to launch it.

mod entries;
mod manifest;
mod streamed;
mod tables;

pub use manifest::{
    Access, Count, Entry, Field, Grid, Kind, Launch, Manifest, Parameter, Sequence, Table,
    TileWorkspace, Workspace,
};

use crate::compile::Compiled;
use crate::render::Rendered;
use himuon_templates::{Architecture, KernelSpec, Variant, files};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Writes `folder/<id>/` with `kernel.cu`, `manifest.json` and, if compiled, `kernel.ptx` and `kernel.cubin`.
/// Each file is whole or as it was, the manifest comes last. The same inputs give the same bytes. `target` is the exact architecture that was compiled for, as in `sm_86`.
///
/// Returns the folder of the bundle, and its manifest.
///
/// # Errors
/// When a file cannot be written.
pub fn write(
    folder: &Path,
    spec: &KernelSpec,
    variant: &Variant,
    architecture: Architecture,
    rendered: &Rendered,
    compiled: Option<(&str, &Compiled)>,
) -> std::io::Result<(PathBuf, Manifest)> {
    let bundle = write_files(folder, rendered, compiled.map(|(_, compiled)| compiled))?;
    let mut manifest = Manifest::new(spec, variant, architecture, &rendered.id);
    if let Some((target, compiled)) = compiled {
        manifest.target = Some(target.to_owned());
        if let Some((_, resources)) = &compiled.cubin {
            manifest.resources = resources.clone();
        }
    }
    let mut text = serde_json::to_string_pretty(&manifest)?;
    text.push('\n');
    files::write(&bundle.join("manifest.json"), |file| {
        file.write_all(text.as_bytes())
    })?;
    Ok((bundle, manifest))
}

/// Writes `folder/<id>/` with `kernel.cu` and, if compiled, `kernel.ptx` and `kernel.cubin`. Returns that folder.
pub(crate) fn write_files(
    folder: &Path,
    rendered: &Rendered,
    compiled: Option<&Compiled>,
) -> std::io::Result<PathBuf> {
    let bundle = folder.join(rendered.id.to_string());
    std::fs::create_dir_all(&bundle)?;
    let put =
        |name: &str, bytes: &[u8]| files::write(&bundle.join(name), |file| file.write_all(bytes));
    put("kernel.cu", rendered.text.as_bytes())?;
    if let Some(compiled) = compiled {
        put("kernel.ptx", compiled.ptx.as_bytes())?;
        if let Some((cubin, _)) = &compiled.cubin {
            put("kernel.cubin", cubin)?;
        }
    }
    Ok(bundle)
}
