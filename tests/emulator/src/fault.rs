//! What a check reports: the kind of fault and the place where it happened, in one message.

use std::fmt;

/// A state space of PTX.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Space {
    /// Device memory.
    Global,
    /// Memory of one block.
    Shared,
    /// Memory of one thread.
    Local,
    /// Kernel parameters.
    Param,
    /// A generic address that lies in no window.
    Generic,
}

impl fmt::Display for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Global => "global",
            Self::Shared => "shared",
            Self::Local => "local",
            Self::Param => "param",
            Self::Generic => "generic",
        })
    }
}

/// Reading or writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// A load, or the source of a copy.
    Read,
    /// A store, or the destination of a copy.
    Write,
    /// A read-modify-write.
    Atomic,
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Atomic => "atomic",
        })
    }
}

/// A limit of the device that a launch exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Resource {
    /// Static and dynamic shared memory together, bytes.
    SharedBytes,
    /// 32-bit registers of one block.
    Registers,
    /// Threads of one block.
    Threads,
    /// An extent of the block.
    BlockExtent,
    /// An extent of the grid.
    GridExtent,
    /// Bytes of kernel parameters.
    ParamBytes,
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SharedBytes => "bytes of shared memory a block",
            Self::Registers => "registers a block",
            Self::Threads => "threads a block",
            Self::BlockExtent => "threads in one block dimension",
            Self::GridExtent => "blocks in one grid dimension",
            Self::ParamBytes => "bytes of parameters",
        })
    }
}

fn block_name(block: Option<[u32; 3]>) -> String {
    block.map_or_else(
        || "several blocks".to_owned(),
        |[x, y, z]| format!("block ({x},{y},{z})"),
    )
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FaultKind {
    /// An access outside every allocation, or past the end of one.
    #[error("{access} of {bytes} bytes out of bounds of {space} memory: {detail}")]
    OutOfBounds {
        /// State space.
        space: Space,
        /// Read or write.
        access: Access,
        /// Size of the access of one lane.
        bytes: u32,
        /// What lies near the address.
        detail: String,
    },
    /// An address that is not a multiple of the access size.
    #[error(
        "misaligned {access} of {bytes} bytes in {space} memory: the address must be a multiple of {required}"
    )]
    Misaligned {
        /// State space.
        space: Space,
        /// Read or write.
        access: Access,
        /// Size of the access of one lane.
        bytes: u32,
        /// Required alignment.
        required: u32,
    },
    /// A register was read before it was written.
    #[error("register {register} is read before it is written")]
    UninitialisedRegister {
        /// Name in the PTX.
        register: String,
    },
    /// Memory was read before it was written.
    #[error("{bytes}-byte read of {space} memory that was never written")]
    UninitialisedMemory {
        /// State space.
        space: Space,
        /// Size of the access of one lane.
        bytes: u32,
    },
    /// Two warps touched a byte of shared memory, one of them writing, with no barrier between.
    #[error(
        "shared-memory race: {access} conflicts with an earlier {other_access} by warp {other_warp} with no barrier between"
    )]
    SharedRace {
        /// This access.
        access: Access,
        /// The earlier access.
        other_access: Access,
        /// The other warp.
        other_warp: u32,
    },
    /// Two warps of a block touched a byte of global memory, one of them writing, with no barrier between.
    #[error(
        "global-memory race: {access} conflicts with an earlier {other_access} by warp {other_warp} of the block with no barrier between"
    )]
    GlobalRace {
        /// This access.
        access: Access,
        /// The earlier access.
        other_access: Access,
        /// The other warp.
        other_warp: u32,
    },
    /// Data of an asynchronous copy was touched before the copy was waited for.
    #[error("{access} of shared memory that an asynchronous copy still owns: {detail}")]
    AsyncNotWaited {
        /// This access.
        access: Access,
        /// Which copy, and what is missing.
        detail: String,
    },
    /// Generic-proxy writes were read by the asynchronous proxy without a proxy fence.
    #[error(
        "asynchronous copy reads shared memory written by warp {writer} without fence.proxy.async"
    )]
    MissingProxyFence {
        /// Warp that wrote.
        writer: u32,
    },
    /// An aligned barrier reached by only a part of a warp.
    #[error("divergent barrier: lanes {active:#010x} of the live lanes {live:#010x} reached it")]
    DivergentBarrier {
        /// Lanes that executed the barrier.
        active: u32,
        /// Lanes of the warp that have not exited.
        live: u32,
    },
    /// A warp-collective instruction that lacks named lanes.
    #[error(
        "divergent warp-collective: lanes {active:#010x} execute it, {required:#010x} are required"
    )]
    DivergentCollective {
        /// Lanes that executed the instruction.
        active: u32,
        /// Lanes that the instruction names.
        required: u32,
    },
    /// No warp of the block can run.
    #[error("deadlock: no warp can run: {detail}")]
    Deadlock {
        /// What each waiting warp waits for.
        detail: String,
    },
    /// The launch asks for more than the device has.
    #[error("the launch needs {requested} {resource}, the limit is {limit}")]
    ExceededResource {
        /// Which limit.
        resource: Resource,
        /// What the launch needs.
        requested: u64,
        /// What there is.
        limit: u64,
    },
    /// Two blocks of one launch touched a byte of global memory, one of them writing.
    #[error(
        "conflict between blocks: {access} of global memory that {} {other_access} in the same launch",
        block_name(*other_block)
    )]
    BlockConflict {
        /// This access.
        access: Access,
        /// What the other block did.
        other_access: &'static str,
        /// The other block; several others without it.
        other_block: Option<[u32; 3]>,
    },
    /// An instruction used against its rules.
    #[error("invalid use: {detail}")]
    InvalidUse {
        /// Which rule.
        detail: String,
    },
    /// The kernel executed `trap` or `brkpt`.
    #[error("the kernel executed trap")]
    Trap,
    /// The block ran longer than the option allows.
    #[error("the block executed more than {limit} warp instructions without finishing")]
    InstructionLimit {
        /// The option's value.
        limit: u64,
    },
    /// The module has no such kernel.
    #[error("no kernel of that name in the module; it has: {available}")]
    UnknownKernel {
        /// Names of the module's kernels.
        available: String,
    },
}

/// Where a fault happened; what is unknown is `None`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Site {
    /// Kernel name.
    pub kernel: String,
    /// Line of the PTX text, from 1.
    pub line: Option<u32>,
    /// That line's text.
    pub text: Option<String>,
    /// Block index.
    pub block: Option<[u32; 3]>,
    /// Warp of the block.
    pub warp: Option<u32>,
    /// Lane of the warp.
    pub lane: Option<u32>,
    /// Address, in the state space of the fault.
    pub address: Option<u64>,
}

/// A failed check: [`FaultKind`] and [`Site`]. Displays as one message that names them all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What went wrong.
    pub kind: FaultKind,
    /// Where.
    pub site: Box<Site>,
}

impl std::error::Error for Fault {}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kernel {}: {}", self.site.kernel, self.kind)?;
        if let Some([x, y, z]) = self.site.block {
            write!(f, "; block ({x},{y},{z})")?;
        }
        if let Some(warp) = self.site.warp {
            write!(f, " warp {warp}")?;
        }
        if let Some(lane) = self.site.lane {
            write!(f, " lane {lane}")?;
        }
        if let Some(address) = self.site.address {
            write!(f, " address {address:#x}")?;
        }
        if let Some(line) = self.site.line {
            write!(f, "; PTX line {line}")?;
        }
        if let Some(text) = &self.site.text {
            write!(f, ": {text}")?;
        }
        Ok(())
    }
}
