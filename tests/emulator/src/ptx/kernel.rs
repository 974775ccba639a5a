//! A decoded kernel and what it asks of a launch.

use std::sync::Arc;

use super::cells::Cells;
use super::decode::{DecodedKernel, RegisterInfo};
use super::flow;
use super::operands::Operands;
use super::reads::Reads;
use super::syntax::Entry;
use crate::isa::{Constant, Inst, Special};

/// Registers that one thread can have at most.
const MAX_REGISTERS: u32 = 255;
/// Registers of a block, on every architecture here.
const REGISTERS_OF_A_BLOCK: u32 = 64 * 1024;
/// Registers are given to a thread in units of this.
const REGISTER_UNIT: u32 = 8;

/// A kernel parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Param {
    /// Name in the PTX.
    pub name: String,
    /// Offset in the parameter block, bytes.
    pub offset: u32,
    /// Size in bytes.
    pub bytes: u32,
    /// Alignment in bytes.
    pub align: u32,
}

/// One `.entry` of a module, decoded.
#[derive(Debug, Clone)]
pub struct Kernel {
    name: String,
    params: Vec<Param>,
    param_bytes: u32,
    shared_bytes: u32,
    local_bytes: u32,
    pressure: u32,
    max_threads: Option<[u32; 3]>,
    pub(crate) dynamic_align: u32,
    pub(crate) code: Arc<[Inst]>,
    pub(crate) reads: Arc<Reads>,
    pub(crate) cells: Cells,
    pub(crate) constants: Arc<[Constant]>,
    pub(crate) specials: Arc<[(Special, u32)]>,
    pub(crate) registers: Arc<[RegisterInfo]>,
    pub(crate) predicates: Arc<[String]>,
    source: Arc<[String]>,
}

impl Kernel {
    pub(super) fn new(
        entry: &Entry<'_>,
        mut decoded: DecodedKernel,
        source: Arc<[String]>,
    ) -> Self {
        flow::set_reconvergence(&mut decoded.code);
        let operands: Vec<Operands> = decoded
            .code
            .iter()
            .map(|inst| Operands::of(&inst.op, inst.guard))
            .collect();
        let widths: Vec<u32> = decoded
            .registers
            .iter()
            .map(|register| register.bits)
            .collect();
        let pressure = flow::register_pressure(&decoded.code, &operands, &widths);
        let params = decoded
            .params
            .into_iter()
            .map(|(name, offset, bytes, align)| Param {
                name,
                offset,
                bytes,
                align,
            });
        Self {
            name: entry.name.to_owned(),
            params: params.collect(),
            param_bytes: decoded.param_bytes,
            shared_bytes: decoded.shared_bytes,
            local_bytes: decoded.local_bytes,
            pressure,
            max_threads: entry.max_threads,
            dynamic_align: decoded.dynamic_align,
            reads: Arc::new(Reads::new(&operands)),
            cells: Cells::of(&decoded.code),
            code: decoded.code.into(),
            constants: decoded.constants.into(),
            specials: decoded.specials.into(),
            registers: decoded.registers.into(),
            predicates: decoded.predicates.into(),
            source,
        }
    }

    /// Name as in the PTX.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Parameters in order.
    pub fn params(&self) -> &[Param] {
        &self.params
    }

    /// Length of the parameter block.
    pub fn param_bytes(&self) -> u32 {
        self.param_bytes
    }

    /// Shared memory that the kernel declares with a size, bytes.
    pub fn static_shared_bytes(&self) -> u32 {
        self.shared_bytes
    }

    /// Local memory of one thread, bytes.
    pub fn local_bytes(&self) -> u32 {
        self.local_bytes
    }

    /// 32-bit registers of one thread: the most that are live at once, and at most the 255 beyond which a compiler
    /// spills. A kernel that declares its largest block gets no more than lets that block run: ptxas spills the rest.
    /// What ptxas allocates differs by its scheduling.
    pub fn registers(&self) -> u32 {
        let declared = self.max_threads.map_or(MAX_REGISTERS, |[x, y, z]| {
            let threads = x
                .saturating_mul(y)
                .saturating_mul(z)
                .clamp(1, REGISTERS_OF_A_BLOCK);
            REGISTERS_OF_A_BLOCK / threads.next_multiple_of(32) / REGISTER_UNIT * REGISTER_UNIT
        });
        self.pressure.min(declared).min(MAX_REGISTERS)
    }

    /// The most 32-bit values that are live at once, before any spilling.
    pub fn register_pressure(&self) -> u32 {
        self.pressure
    }

    /// `.maxntid` or `.reqntid`.
    pub fn max_threads(&self) -> Option<[u32; 3]> {
        self.max_threads
    }

    /// Decoded instructions, the final return included.
    pub fn instructions(&self) -> usize {
        self.code.len()
    }

    /// Text of a line of the module, without indentation.
    pub(crate) fn source_line(&self, line: u32) -> Option<&str> {
        self.source
            .get(line.checked_sub(1)? as usize)
            .map(String::as_str)
    }
}
