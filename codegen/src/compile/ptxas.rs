//! PTX to a cubin by `ptxas`, and what it reports of each entry.

use super::{CompileError, Resources, scratch};
use std::path::Path;
use std::process::Command;

/// The cubin and the resources of its entries.
pub(super) fn assemble(
    ptxas: &Path,
    ptx: &str,
    architecture: &str,
) -> Result<(Vec<u8>, Vec<Resources>), CompileError> {
    scratch::within("ptxas", |folder| {
        assemble_in(folder, ptxas, ptx, architecture)
    })
    .map_err(|error| CompileError::Tool {
        tool: ptxas.to_owned(),
        message: error.to_string(),
    })?
}

fn assemble_in(
    folder: &Path,
    ptxas: &Path,
    ptx: &str,
    architecture: &str,
) -> Result<(Vec<u8>, Vec<Resources>), CompileError> {
    let failed = |message: String| CompileError::Tool {
        tool: ptxas.to_owned(),
        message,
    };
    let (source, cubin) = (folder.join("kernel.ptx"), folder.join("kernel.cubin"));
    std::fs::write(&source, ptx)
        .map_err(|error| failed(format!("{}: {error}", folder.display())))?;
    let output = Command::new(ptxas)
        .arg("-v")
        .arg(format!("-arch={architecture}"))
        .arg(&source)
        .arg("-o")
        .arg(&cubin)
        .output()
        .map_err(|error| failed(error.to_string()))?;
    let messages = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        return Err(failed(messages));
    }
    let bytes = std::fs::read(&cubin).map_err(|error| failed(error.to_string()))?;
    Ok((bytes, resources(&messages)))
}

/// Reads `ptxas -v`: per entry one line with its name, one with stack and spills, one with registers,
/// barriers and shared memory.
fn resources(messages: &str) -> Vec<Resources> {
    let mut entries: Vec<Resources> = Vec::new();
    for line in messages.lines() {
        if let Some(rest) = line.split("Compiling entry function '").nth(1) {
            entries.push(Resources {
                entry: rest.split('\'').next().unwrap_or_default().to_owned(),
                ..Resources::default()
            });
            continue;
        }
        let Some(entry) = entries.last_mut() else {
            continue;
        };
        if line.contains("bytes stack frame") {
            entry.stack_bytes = number_before(line, "bytes stack frame");
            entry.spill_store_bytes = number_before(line, "bytes spill stores");
            entry.spill_load_bytes = number_before(line, "bytes spill loads");
        } else if line.contains(": Used ") {
            entry.registers = number_before(line, "registers");
            entry.static_shared_bytes = number_before(line, "bytes smem");
            entry.barriers = number_before(line, "barriers");
        }
    }
    entries
}

/// The number in front of `words`; `ptxas` leaves out what is zero.
fn number_before(line: &str, words: &str) -> u32 {
    line.split_once(words)
        .and_then(|(before, _)| before.split_whitespace().last())
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::resources;

    #[test]
    fn the_lines_of_an_entry() {
        let found = resources(
            "ptxas info    : Compiling entry function 'himuon_step' for 'sm_80'\n\
             ptxas info    : Function properties for himuon_step\n    \
             16 bytes stack frame, 12 bytes spill stores, 8 bytes spill loads\n\
             ptxas info    : Used 255 registers, used 1 barriers, 384 bytes cmem[0]\n",
        );
        assert_eq!(found.len(), 1);
        let entry = &found[0];
        assert_eq!(entry.entry, "himuon_step");
        assert_eq!((entry.registers, entry.barriers), (255, 1));
        assert_eq!(
            (
                entry.stack_bytes,
                entry.spill_store_bytes,
                entry.spill_load_bytes
            ),
            (16, 12, 8)
        );
        assert_eq!(entry.static_shared_bytes, 0);
    }
}
