//! The front end: PTX text to decoded, typed instructions.
//!
//! One pass a file: `lexer` makes tokens, `parse` and `parse_body` make `syntax`, `decode` resolves names and
//! suffixes into the typed form, `flow` finds where diverged lanes meet. Both dialects are read: typed registers
//! (below sm_100) and `.b32` registers for floats (from sm_100 on).

mod cells;
mod decode;
mod error;
mod flow;
mod kernel;
mod lexer;
pub(crate) mod operands;
mod parse;
mod parse_body;
mod reads;
mod syntax;
pub(crate) mod types;

use std::collections::HashMap;
use std::sync::Arc;

pub use error::PtxError;
pub use kernel::{Kernel, Param};
use syntax::{Initial, Variable, VariableSpace};

/// Module variables larger than this in all are refused, whatever the device.
const MAX_MODULE_BYTES: u64 = 1 << 32;

/// A parsed module. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Module {
    inner: Arc<ModuleInner>,
}

#[derive(Debug)]
struct ModuleInner {
    kernels: Vec<Kernel>,
    globals: Vec<GlobalVariable>,
    version: (u32, u32),
    target: String,
}

/// A `.global` or `.const` variable of a module.
#[derive(Debug, Clone)]
pub struct GlobalVariable {
    /// Name in the PTX.
    pub name: String,
    /// Size in bytes.
    pub bytes: u64,
    /// Whether it is `.const`.
    pub constant: bool,
    /// Initial contents; zeros where the text gives none.
    pub(crate) initial: Vec<u8>,
    /// Eight-byte places that hold the address of another variable.
    pub(crate) relocations: Vec<(u64, u32)>,
}

impl Module {
    /// Parses and decodes PTX text.
    ///
    /// # Errors
    /// [`PtxError`] with the line, for text that is not PTX or uses an instruction that the emulator does not know.
    pub fn parse(ptx: &str) -> Result<Self, PtxError> {
        let syntax = parse::parse(ptx)?;
        let (globals, indices) = global_variables(&syntax.variables)?;
        let source: Arc<[String]> = ptx.lines().map(|line| line.trim().to_owned()).collect();
        let kernels = syntax.entries.iter().map(|entry| {
            let decoded = decode::decode(entry, &syntax.variables, &indices)?;
            Ok(Kernel::new(entry, decoded, Arc::clone(&source)))
        });
        let kernels = kernels.collect::<Result<Vec<_>, PtxError>>()?;
        for (index, entry) in syntax.entries.iter().enumerate() {
            if kernels[..index]
                .iter()
                .any(|kernel| kernel.name() == entry.name)
            {
                return Err(PtxError::new(
                    entry.line,
                    format!("kernel `{}` is there twice", entry.name),
                ));
            }
        }
        let target = syntax.target.to_owned();
        Ok(Self {
            inner: Arc::new(ModuleInner {
                kernels,
                globals,
                version: syntax.version,
                target,
            }),
        })
    }

    /// The kernels, in the order of the text.
    pub fn kernels(&self) -> impl Iterator<Item = &Kernel> {
        self.inner.kernels.iter()
    }

    /// A kernel by name.
    pub fn kernel(&self, name: &str) -> Option<&Kernel> {
        self.inner
            .kernels
            .iter()
            .find(|kernel| kernel.name() == name)
    }

    /// Variables that get device memory when the module is loaded.
    pub fn globals(&self) -> &[GlobalVariable] {
        &self.inner.globals
    }

    /// PTX version: (8, 7) for `.version 8.7`.
    pub fn version(&self) -> (u32, u32) {
        self.inner.version
    }

    /// Target, for example `sm_90a`.
    pub fn target(&self) -> &str {
        &self.inner.target
    }
}

/// Lays out the initial contents of the variables in global and constant memory.
fn global_variables<'a>(
    variables: &[Variable<'a>],
) -> Result<(Vec<GlobalVariable>, HashMap<&'a str, u32>), PtxError> {
    let global = |variable: &&Variable<'a>| {
        matches!(variable.space, VariableSpace::Global | VariableSpace::Const)
    };
    let kept: Vec<&Variable<'a>> = variables.iter().filter(global).collect();
    let indices: HashMap<&str, u32> = kept
        .iter()
        .enumerate()
        .map(|(index, variable)| (variable.name, index as u32))
        .collect();
    let total: u64 = kept
        .iter()
        .map(|variable| variable.bytes.unwrap_or(0))
        .fold(0, u64::saturating_add);
    if total > MAX_MODULE_BYTES {
        return Err(PtxError::new(
            kept[0].line,
            format!("{total} bytes of module variables, the limit is {MAX_MODULE_BYTES}"),
        ));
    }
    let globals = kept.iter().map(|variable| {
        let mut initial = Vec::new();
        let mut relocations = Vec::new();
        for value in &variable.init {
            match value {
                Initial::Bits(bits) => initial.extend_from_slice(
                    &bits.to_le_bytes()[..variable.element_bytes.min(8) as usize],
                ),
                Initial::Address(name) => {
                    let target = indices.get(name).ok_or_else(|| {
                        PtxError::new(variable.line, format!("`{name}` is no module variable"))
                    })?;
                    if variable.element_bytes != 8 {
                        return Err(PtxError::new(variable.line, "an address needs eight bytes"));
                    }
                    relocations.push((initial.len() as u64, *target));
                    initial.extend_from_slice(&[0; 8]);
                }
            }
        }
        let bytes = variable.bytes.unwrap_or(0);
        if initial.len() as u64 > bytes {
            return Err(PtxError::new(
                variable.line,
                format!("`{}` has more initial values than room", variable.name),
            ));
        }
        Ok(GlobalVariable {
            name: variable.name.to_owned(),
            bytes,
            constant: variable.space == VariableSpace::Const,
            initial,
            relocations,
        })
    });
    Ok((globals.collect::<Result<_, _>>()?, indices))
}
