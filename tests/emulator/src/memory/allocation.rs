//! One allocation: bytes in atomic words, and a bit for each byte that was written.
//!
//! Blocks of a launch run on several threads and may touch the same word, so every word is an atomic accessed with
//! relaxed ordering; where the hardware has no order between blocks, neither has the emulator.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// Bytes of one allocation with their shadow.
pub struct Allocation {
    base: u64,
    bytes: u64,
    words: Box<[AtomicU32]>,
    initialised: Box<[AtomicU32]>,
    /// Held around atomics wider than a word.
    wide: Mutex<()>,
}

impl std::fmt::Debug for Allocation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Allocation")
            .field("base", &format_args!("{:#x}", self.base))
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

impl Allocation {
    pub(super) fn new(base: u64, bytes: u64) -> Self {
        Self {
            base,
            bytes,
            words: bytemuck::allocation::zeroed_slice_box(bytes.div_ceil(4) as usize),
            initialised: bytemuck::allocation::zeroed_slice_box(bytes.div_ceil(32) as usize),
            wide: Mutex::new(()),
        }
    }

    /// First address.
    pub fn base(&self) -> u64 {
        self.base
    }

    /// Length in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    #[inline(always)]
    fn word(&self, offset: u64) -> &AtomicU32 {
        &self.words[(offset / 4) as usize]
    }

    /// Up to eight bytes, aligned to their number.
    #[inline(always)]
    pub(crate) fn load(&self, offset: u64, bytes: u32) -> u64 {
        let word = u64::from(self.word(offset).load(Relaxed));
        match bytes {
            8 => word | (u64::from(self.word(offset + 4).load(Relaxed)) << 32),
            4 => word,
            2 => (word >> (8 * (offset % 4))) & 0xffff,
            _ => (word >> (8 * (offset % 4))) & 0xff,
        }
    }

    /// Stores up to eight bytes, aligned to their number; the caller marks them initialised.
    #[inline(always)]
    pub(crate) fn store(&self, offset: u64, bytes: u32, value: u64) {
        let word = self.word(offset);
        match bytes {
            8 => {
                word.store(value as u32, Relaxed);
                self.word(offset + 4).store((value >> 32) as u32, Relaxed);
            }
            4 => word.store(value as u32, Relaxed),
            _ => {
                let shift = 8 * (offset % 4) as u32;
                let mask = if bytes == 2 { 0xffffu32 } else { 0xff } << shift;
                update(word, |old| {
                    (old & !mask) | (((value as u32) << shift) & mask)
                });
            }
        }
    }

    /// A read-modify-write that no other block can split; returns the old value.
    pub(crate) fn modify(&self, offset: u64, bytes: u32, change: impl Fn(u64) -> u64) -> u64 {
        let word = self.word(offset);
        match bytes {
            4 => u64::from(update(word, |old| change(u64::from(old)) as u32)),
            2 => {
                let shift = 8 * (offset % 4) as u32;
                let mask = 0xffffu32 << shift;
                let old = update(word, |old| {
                    (old & !mask)
                        | ((change(u64::from((old & mask) >> shift)) as u32) << shift) & mask
                });
                u64::from((old & mask) >> shift)
            }
            _ => {
                // Two words: the lock orders this against other wide atomics, which is what PTX promises.
                let _guard = self.wide.lock().unwrap_or_else(PoisonError::into_inner);
                let old = self.load(offset, 8);
                self.store(offset, 8, change(old));
                old
            }
        }
    }

    /// Reads bytes from `offset`, which the caller has checked against the length.
    pub(crate) fn read(&self, offset: u64, into: &mut [u8]) {
        let mut at = offset;
        let mut rest = into;
        while !rest.is_empty() {
            let within = (at % 4) as usize;
            let take = rest.len().min(4 - within);
            let word = self.word(at).load(Relaxed).to_le_bytes();
            let (head, tail) = rest.split_at_mut(take);
            head.copy_from_slice(&word[within..within + take]);
            rest = tail;
            at += take as u64;
        }
    }

    /// Writes bytes at `offset`, which the caller has checked against the length, and marks them initialised.
    pub(crate) fn write(&self, offset: u64, from: &[u8]) {
        self.mark(offset, from.len() as u64);
        let mut at = offset;
        let mut rest = from;
        while !rest.is_empty() {
            let within = (at % 4) as usize;
            let take = rest.len().min(4 - within);
            let (head, tail) = rest.split_at(take);
            let mut bytes = [0u8; 4];
            bytes[within..within + take].copy_from_slice(head);
            let value = u32::from_le_bytes(bytes);
            if take == 4 {
                self.word(at).store(value, Relaxed);
            } else {
                let mask = bit_range(within * 8, take * 8);
                update(self.word(at), |word| (word & !mask) | value);
            }
            rest = tail;
            at += take as u64;
        }
    }

    /// Marks bytes as written.
    #[inline(always)]
    pub(crate) fn mark(&self, offset: u64, bytes: u64) {
        self.for_shadow_words(offset, bytes, |word, mask| {
            if word.load(Relaxed) & mask != mask {
                word.fetch_or(mask, Relaxed);
            }
            true
        });
    }

    /// Marks one byte as never written.
    pub(super) fn forget(&self, offset: u64) {
        self.initialised[(offset / 32) as usize].fetch_and(!(1 << (offset % 32)), Relaxed);
    }

    /// Whether all those bytes were written.
    #[inline(always)]
    pub(crate) fn is_initialised(&self, offset: u64, bytes: u64) -> bool {
        self.for_shadow_words(offset, bytes, |word, mask| {
            word.load(Relaxed) & mask == mask
        })
    }

    #[inline(always)]
    fn for_shadow_words(
        &self,
        offset: u64,
        bytes: u64,
        mut visit: impl FnMut(&AtomicU32, u32) -> bool,
    ) -> bool {
        let (mut at, end) = (offset, offset + bytes);
        while at < end {
            let within = (at % 32) as usize;
            let take = ((end - at) as usize).min(32 - within);
            if !visit(
                &self.initialised[(at / 32) as usize],
                bit_range(within, take),
            ) {
                return false;
            }
            at += take as u64;
        }
        true
    }
}

/// `count` set bits from bit `first`.
fn bit_range(first: usize, count: usize) -> u32 {
    let ones = if count >= 32 {
        u32::MAX
    } else {
        (1 << count) - 1
    };
    ones << first
}

/// Replaces a word atomically and returns what it held.
fn update(word: &AtomicU32, mut change: impl FnMut(u32) -> u32) -> u32 {
    let mut current = word.load(Relaxed);
    loop {
        match word.compare_exchange_weak(current, change(current), Relaxed, Relaxed) {
            Ok(previous) => return previous,
            Err(seen) => current = seen,
        }
    }
}
