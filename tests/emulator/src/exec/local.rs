//! Local memory: a stretch for each lane of a warp, and which of its bytes were written.

use super::trouble::{Step, Trouble};
use crate::fault::{Access, FaultKind, Space};
use crate::lanes::WARP;

#[derive(Debug, Default)]
pub(super) struct LocalMemory {
    bytes: Vec<u8>,
    written: Vec<bool>,
    stretch: usize,
}

impl LocalMemory {
    pub(super) fn reset(&mut self, bytes: usize) {
        self.stretch = bytes;
        self.bytes.resize(bytes * WARP, 0);
        self.written.clear();
        self.written.resize(bytes * WARP, false);
    }

    /// Checks alignment and bounds; returns the place in the warp's stretch.
    pub(super) fn locate(
        &self,
        lane: usize,
        address: u64,
        bytes: u32,
        required: u32,
        access: Access,
    ) -> Step<usize> {
        if !address.is_multiple_of(u64::from(required)) {
            return Err(Trouble::at(
                FaultKind::Misaligned {
                    space: Space::Local,
                    access,
                    bytes,
                    required,
                },
                lane as u32,
                address,
            ));
        }
        if address
            .checked_add(u64::from(bytes))
            .is_none_or(|end| end > self.stretch as u64)
        {
            let detail = format!("the thread has {} bytes", self.stretch);
            return Err(Trouble::at(
                FaultKind::OutOfBounds {
                    space: Space::Local,
                    access,
                    bytes,
                    detail,
                },
                lane as u32,
                address,
            ));
        }
        Ok(lane * self.stretch + address as usize)
    }

    pub(super) fn check_initialised(&self, lane: usize, at: usize, bytes: u32) -> Step<()> {
        if self.written[at..at + bytes as usize]
            .iter()
            .all(|written| *written)
        {
            return Ok(());
        }
        let address = (at - lane * self.stretch) as u64;
        Err(Trouble::at(
            FaultKind::UninitialisedMemory {
                space: Space::Local,
                bytes,
            },
            lane as u32,
            address,
        ))
    }

    /// The stretches of all lanes, one after another.
    pub(super) fn all(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn store(&mut self, at: usize, from: &[u8]) {
        self.bytes[at..at + from.len()].copy_from_slice(from);
        self.written[at..at + from.len()].fill(true);
    }
}
