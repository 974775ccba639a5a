//! PTX to cubin through `ptxas`, with the resources it reports; cubin to SASS through `nvdisasm`.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::error::ToolkitError;
use crate::locate::Toolkit;

/// A cubin and what `ptxas -v` says of its entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assembled {
    /// The ELF image for one architecture.
    pub cubin: Vec<u8>,
    /// One report per entry, in the order of `ptxas`.
    pub entries: Vec<EntryResources>,
}

/// Resources of one entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EntryResources {
    /// The entry's name.
    pub name: String,
    /// Registers per thread.
    pub registers: u32,
    /// Bytes of stack per thread.
    pub stack_bytes: u32,
    /// Bytes stored to local memory because registers ran out, per thread.
    pub spill_store_bytes: u32,
    /// Bytes loaded back.
    pub spill_load_bytes: u32,
    /// Static shared memory in bytes per block.
    pub shared_bytes: u32,
    /// Named barriers in use.
    pub barriers: u32,
}

impl Assembled {
    /// The report of one entry.
    pub fn entry(&self, name: &str) -> Option<&EntryResources> {
        self.entries.iter().find(|entry| entry.name == name)
    }
}

impl Toolkit {
    /// Assembles PTX for one architecture (`sm_80`, `sm_90a`, ...).
    ///
    /// # Errors
    ///
    /// [`ToolkitError::Tool`] with the messages of `ptxas` if it refuses the PTX.
    pub fn assemble(&self, ptx: &str, arch: &str) -> Result<Assembled, ToolkitError> {
        let folder = scratch_folder()?;
        let (source, cubin) = (
            folder.path().join("kernel.ptx"),
            folder.path().join("kernel.cubin"),
        );
        fs::write(&source, ptx).map_err(ToolkitError::io("write", &source))?;
        let messages = run(
            Command::new(self.ptxas())
                .arg("-v")
                .arg(format!("-arch={arch}"))
                .arg(&source)
                .arg("-o")
                .arg(&cubin),
            self.ptxas(),
        )?
        .1;
        Ok(Assembled {
            cubin: fs::read(&cubin).map_err(ToolkitError::io("read", &cubin))?,
            entries: resources(&messages)?,
        })
    }

    /// Disassembles a cubin; `options` go to `nvdisasm`, for example `-hex` for the control bits.
    ///
    /// # Errors
    ///
    /// [`ToolkitError::Tool`] with the messages of `nvdisasm` if it refuses the cubin.
    pub fn disassemble(&self, cubin: &[u8], options: &[&str]) -> Result<String, ToolkitError> {
        let folder = scratch_folder()?;
        let path = folder.path().join("kernel.cubin");
        fs::write(&path, cubin).map_err(ToolkitError::io("write", &path))?;
        let (listing, _) = run(
            Command::new(self.nvdisasm()).args(options).arg(&path),
            self.nvdisasm(),
        )?;
        Ok(listing)
    }
}

fn scratch_folder() -> Result<tempfile::TempDir, ToolkitError> {
    tempfile::tempdir().map_err(ToolkitError::io("make a folder in", std::env::temp_dir()))
}

/// Standard output and standard error of a tool that succeeded.
fn run(command: &mut Command, tool: &Path) -> Result<(String, String), ToolkitError> {
    let output = command.output().map_err(ToolkitError::io("run", tool))?;
    let standard_output = String::from_utf8_lossy(&output.stdout).into_owned();
    let messages = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() {
        return Ok((standard_output, messages));
    }
    Err(ToolkitError::Tool {
        tool: tool.display().to_string(),
        status: output.status.to_string(),
        output: standard_output + &messages,
    })
}

/// Reads the messages of `ptxas -v`: per entry one line with its name, one with stack and spills,
/// one with registers, barriers and shared memory.
fn resources(messages: &str) -> Result<Vec<EntryResources>, ToolkitError> {
    let mut entries: Vec<EntryResources> = Vec::new();
    for line in messages.lines() {
        if let Some(rest) = line.split("Compiling entry function '").nth(1) {
            let name = rest.split('\'').next().unwrap_or_default().to_owned();
            entries.push(EntryResources {
                name,
                ..EntryResources::default()
            });
            continue;
        }
        let Some(entry) = entries.last_mut() else {
            continue;
        };
        if line.contains("bytes stack frame") {
            entry.stack_bytes = number_before(line, "bytes stack frame")?;
            entry.spill_store_bytes = number_before(line, "bytes spill stores")?;
            entry.spill_load_bytes = number_before(line, "bytes spill loads")?;
        } else if line.contains(": Used ") {
            entry.registers = number_before(line, "registers")?;
            entry.shared_bytes = optional_number_before(line, "bytes smem").unwrap_or(0);
            entry.barriers = optional_number_before(line, "barriers").unwrap_or(0);
        }
    }
    Ok(entries)
}

fn number_before(line: &str, words: &str) -> Result<u32, ToolkitError> {
    optional_number_before(line, words).ok_or_else(|| ToolkitError::ResourceLine {
        line: line.trim().to_owned(),
    })
}

fn optional_number_before(line: &str, words: &str) -> Option<u32> {
    let before = &line[..line.find(words)?];
    before.split_whitespace().last()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_resource_of_two_entries_is_read() {
        let messages = "\
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'first' for 'sm_80'
ptxas info    : Function properties for first
    16 bytes stack frame, 8 bytes spill stores, 12 bytes spill loads
ptxas info    : Used 255 registers, used 1 barriers, 16 bytes cumulative stack size, 2048 bytes smem, 384 bytes cmem[0]
ptxas info    : Compiling entry function 'second' for 'sm_80'
ptxas info    : Function properties for second
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 8 registers, used 0 barriers, 360 bytes cmem[0]
";
        let entries = resources(messages).unwrap();
        let first = EntryResources {
            name: "first".to_owned(),
            registers: 255,
            stack_bytes: 16,
            spill_store_bytes: 8,
            spill_load_bytes: 12,
            shared_bytes: 2048,
            barriers: 1,
        };
        let second = EntryResources {
            name: "second".to_owned(),
            registers: 8,
            ..EntryResources::default()
        };
        assert_eq!(entries, [first, second]);
    }

    #[test]
    fn an_unreadable_resource_line_is_an_error() {
        let messages = "ptxas info : Compiling entry function 'k' for 'sm_80'\nptxas info : Used many registers\n";
        let error = resources(messages).unwrap_err();
        assert!(error.to_string().contains("Used many registers"), "{error}");
    }
}
