//! Threads that stay.

use super::environment::use_default_floats;
use super::error::CpuError;
use std::sync::atomic::{AtomicUsize, Ordering};

/// More than any machine has: a number by mistake is refused instead of bringing the machine down.
pub(crate) const MOST_THREADS: usize = 4096;

/// Persistent worker threads. With one thread the caller's own is used and none is started.
#[derive(Debug)]
pub struct Pool {
    workers: Option<rayon::ThreadPool>,
    threads: usize,
}

impl Pool {
    /// `threads` workers; 0 stands for as many as the system has.
    ///
    /// # Errors
    /// [`CpuError::Pool`] if they cannot be started, or are more than 4096.
    ///
    /// ```
    /// assert_eq!(himuon::cpu::Pool::new(2)?.threads(), 2);
    /// # Ok::<(), himuon::cpu::CpuError>(())
    /// ```
    pub fn new(threads: usize) -> Result<Self, CpuError> {
        let threads = match threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            given => given,
        };
        if threads > MOST_THREADS {
            return Err(CpuError::Pool {
                threads,
                reason: format!("expected at most {MOST_THREADS}"),
            });
        }
        let start = || {
            rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .thread_name(|index| format!("himuon-{index}"))
                .start_handler(|_| use_default_floats())
                .build()
        };
        let workers = (threads > 1)
            .then(start)
            .transpose()
            .map_err(|error| CpuError::Pool {
                threads,
                reason: error.to_string(),
            })?;
        Ok(Pool { workers, threads })
    }

    /// Number of threads.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Calls `task(worker, unit)` for each unit below `units`, on any worker, lower units first.
    pub(super) fn for_each(&self, units: usize, task: impl Fn(usize, usize) + Sync) {
        match &self.workers {
            Some(workers) if units > 1 => {
                let next = AtomicUsize::new(0);
                workers.broadcast(|context| {
                    loop {
                        let unit = next.fetch_add(1, Ordering::Relaxed);
                        if unit >= units {
                            break;
                        }
                        task(context.index(), unit);
                    }
                });
            }
            _ => (0..units).for_each(|unit| task(0, unit)),
        }
    }
}
