//! What the emulated driver tells beyond CUDA: the last message, counters, memory in use.
#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::ffi::{CString, c_char, c_int};

use libloading::Library;
use serde::Deserialize;

use crate::error::ToolkitError;

type CopyText = unsafe extern "C" fn(*mut c_char, usize) -> usize;

/// Access to the emulated driver of this process.
#[derive(Debug)]
pub struct Inspection {
    library: Library,
}

/// Device memory in bytes, in units of 256 an allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceMemory {
    /// In use now.
    pub live_bytes: u64,
    /// The most that was in use at once.
    pub peak_bytes: u64,
}

/// Counts of all launches of one kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct KernelCounters {
    /// Launches that ended without a fault.
    pub launches: u64,
    /// Blocks.
    pub blocks: u64,
    /// Warp instructions.
    pub warp_instructions: u64,
    /// Warp instructions by kind, as the emulator's `InstructionKind` spells them.
    pub by_kind: BTreeMap<String, u64>,
    /// Tensor instructions by shape, for example `m16n8k16 bf16 -> f32`.
    pub mma: BTreeMap<String, u64>,
    /// Passes of the shared-memory banks, conflicts included.
    pub shared_wavefronts: u64,
    /// Passes that the same bytes would take without conflicts.
    pub shared_ideal_wavefronts: u64,
    /// Bytes read from shared memory.
    pub shared_bytes_read: u64,
    /// Bytes written to shared memory.
    pub shared_bytes_written: u64,
    /// 32-byte sectors of global memory read.
    pub global_sectors_read: u64,
    /// 32-byte sectors of global memory written.
    pub global_sectors_written: u64,
    /// Bytes read from global memory.
    pub global_bytes_read: u64,
    /// Bytes written to global memory.
    pub global_bytes_written: u64,
    /// Block barriers completed.
    pub barriers_completed: u64,
    /// Branches at which a warp split.
    pub divergent_branches: u64,
}

impl Inspection {
    /// Finds the driver that `dlopen("libcuda.so")` gives in this process.
    ///
    /// # Errors
    ///
    /// [`ToolkitError::ForeignDriver`] if it is not the emulated one.
    pub fn open() -> Result<Self, ToolkitError> {
        // SAFETY: either the emulated driver, which is loaded already, or a real one, whose initialisers have no
        // preconditions.
        let library =
            unsafe { Library::new("libcuda.so") }.map_err(|error| ToolkitError::ForeignDriver {
                reason: error.to_string(),
            })?;
        // SAFETY: only the presence of the symbol is of interest.
        let found = unsafe { library.get::<CopyText>(b"himuonEmulatorLastMessage") };
        if let Err(error) = found {
            return Err(ToolkitError::ForeignDriver {
                reason: error.to_string(),
            });
        }
        Ok(Self { library })
    }

    /// The last message: a kernel's fault with its place, or why a call was refused.
    pub fn last_message(&self) -> Option<String> {
        self.text(b"himuonEmulatorLastMessage")
    }

    /// Counters by kernel since the start or the last reset. Queued launches are not counted before they execute.
    pub fn counters(&self) -> BTreeMap<String, KernelCounters> {
        let text = self.text(b"himuonEmulatorCounters").unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// Forgets the counters.
    pub fn reset_counters(&self) {
        type Reset = unsafe extern "C" fn() -> c_int;
        // SAFETY: the symbol has this type in the emulated driver, which `open` has established this library to be.
        unsafe {
            if let Ok(reset) = self.library.get::<Reset>(b"himuonEmulatorResetCounters") {
                reset();
            }
        }
    }

    /// Memory of a device; `None` before `cuInit` or for an ordinal that is not there.
    pub fn memory(&self, device: i32) -> Option<DeviceMemory> {
        type Memory = unsafe extern "C" fn(c_int, *mut u64, *mut u64) -> c_int;
        let mut memory = DeviceMemory {
            live_bytes: 0,
            peak_bytes: 0,
        };
        // SAFETY: the symbol has this type in the emulated driver; both pointers are to fields of this frame.
        let status = unsafe {
            let read = self.library.get::<Memory>(b"himuonEmulatorMemory").ok()?;
            read(device, &mut memory.live_bytes, &mut memory.peak_bytes)
        };
        (status == 0).then_some(memory)
    }

    /// How often what a kind of `HIMUON_EMULATOR_FAIL` names was done since the start: `allocation`, `copy` (fills
    /// too), `launch`, `submission` or `module`. `None` before `cuInit` or for another kind.
    pub fn uses(&self, kind: &str) -> Option<u64> {
        type Uses = unsafe extern "C" fn(*const c_char, *mut u64) -> c_int;
        let kind = CString::new(kind).ok()?;
        let mut count = 0;
        // SAFETY: the symbol has this type in the emulated driver; the text is NUL-terminated, the count of this frame.
        let status = unsafe {
            let read = self.library.get::<Uses>(b"himuonEmulatorUses").ok()?;
            read(kind.as_ptr(), &mut count)
        };
        (status == 0).then_some(count)
    }

    /// A text of the driver; asked for again if it grew between the two calls.
    fn text(&self, symbol: &[u8]) -> Option<String> {
        let mut buffer: Vec<u8> = Vec::new();
        loop {
            // SAFETY: the symbol has this type in the emulated driver; it writes at most `len` bytes to the buffer.
            let needed = unsafe {
                let copy = self.library.get::<CopyText>(symbol).ok()?;
                copy(buffer.as_mut_ptr().cast(), buffer.len())
            };
            if needed == 0 {
                return None;
            }
            if needed <= buffer.len() {
                buffer.truncate(needed - 1);
                return Some(String::from_utf8_lossy(&buffer).into_owned());
            }
            buffer.resize(needed, 0);
        }
    }
}
