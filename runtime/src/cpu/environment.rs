//! The floating-point environment: rounding to nearest, subnormal numbers kept, no traps.
//!
//! Rust takes it for granted, and so do the same bits on any number of threads. A host program may have changed it for a thread of its
//! own (`torch.set_flush_denormal(True)`, a library built with `-ffast-math`, `feenableexcept`).

/// Runs `body` in the default environment and then puts the caller's back: what bindings do with every call from another language.
///
/// Only x86-64's control word of vectors is looked after, which all arithmetic of this crate goes by.
pub fn with_default_floats<T>(body: impl FnOnce() -> T) -> T {
    let _host = Host::set_aside();
    body()
}

/// Leaves the default environment to a thread of our own, which has inherited that of whoever started it.
pub(super) fn use_default_floats() {
    std::mem::forget(Host::set_aside());
}

/// The caller's environment, which comes back when it is dropped.
struct Host {
    #[cfg(target_arch = "x86_64")]
    control: u32,
}

#[cfg(target_arch = "x86_64")]
mod vectors {
    use std::arch::asm;

    /// All exceptions masked, none flagged; round to nearest even; subnormals neither flushed nor taken for zero.
    pub(super) const DEFAULT: u32 = 0x1f80;

    pub(super) fn control() -> u32 {
        let mut control = 0_u32;
        // SAFETY: writes four bytes to the address of an integer of this frame.
        unsafe {
            asm!("stmxcsr [{}]", in(reg) &raw mut control, options(nostack, preserves_flags));
        }
        control
    }

    pub(super) fn set_control(control: u32) {
        // SAFETY: reads four bytes of this frame; the word is the default one or was read by `control`, so that no reserved bit
        // is set.
        unsafe {
            asm!("ldmxcsr [{}]", in(reg) &raw const control, options(nostack, readonly));
        }
    }
}

impl Host {
    #[cfg(target_arch = "x86_64")]
    fn set_aside() -> Host {
        let control = vectors::control();
        vectors::set_control(vectors::DEFAULT);
        Host { control }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn set_aside() -> Host {
        Host {}
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        #[cfg(target_arch = "x86_64")]
        vectors::set_control(self.control);
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use std::hint::black_box;

    use super::{vectors, with_default_floats};
    use crate::cpu::Pool;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Flush to zero, and subnormals are zeros, as torch sets them.
    const FLUSHED: u32 = vectors::DEFAULT | 0x8040;

    fn keeps_subnormals() -> bool {
        black_box(f32::MIN_POSITIVE) * black_box(0.5) > 0.0
    }

    #[test]
    fn subnormals_are_kept_inside_and_the_hosts_word_comes_back() {
        vectors::set_control(FLUSHED);
        let outside = keeps_subnormals();
        let inside = with_default_floats(keeps_subnormals);
        let after = vectors::control();
        vectors::set_control(vectors::DEFAULT);
        assert!(!outside && inside);
        // Exceptions that were met are flagged in the lowest six bits.
        assert_eq!(after & !0x3f, FLUSHED);
    }

    #[test]
    fn workers_do_not_inherit_the_hosts_word() {
        vectors::set_control(FLUSHED);
        let pool = Pool::new(2);
        vectors::set_control(vectors::DEFAULT);
        let kept = AtomicUsize::new(0);
        pool.unwrap().for_each(64, |_, _| {
            kept.fetch_add(usize::from(keeps_subnormals()), Ordering::Relaxed);
        });
        assert_eq!(kept.into_inner(), 64);
    }
}
