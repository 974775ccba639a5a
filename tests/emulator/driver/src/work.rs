//! Queued work. Streams, events and graphs all come down to one thing: work that depends on other work.
//!
//! Nothing runs when it is queued. [`Session::complete`] executes what a piece of work depends on, then the work
//! itself, and nothing else: a program that forgot to wait for something finds it not done, every time.

use std::sync::Arc;

use himuon_emulator::LoadedModule;
use parking_lot::Mutex;

use crate::abi::{HostAddress, HostCall};
use crate::context::Context;
use crate::driver::Session;
use crate::error::DriverResult;
use crate::handle::Handle;
use crate::module::Function;

/// What a piece of work does.
#[derive(Debug, Clone)]
pub(crate) enum Action {
    /// Only stands for its dependencies.
    Join,
    Launch(KernelLaunch),
    Upload {
        destination: u64,
        source: HostSource,
    },
    Download {
        destination: HostAddress,
        source: u64,
        bytes: usize,
    },
    Copy {
        destination: u64,
        source: u64,
        bytes: u64,
    },
    CopyRows(CopyRows),
    Fill(Fill),
    Free {
        address: u64,
    },
    Call(HostCall),
}

/// A kernel with all that a launch needs; it keeps its module's code alive.
#[derive(Debug, Clone)]
pub(crate) struct KernelLaunch {
    pub(crate) function: Handle<Function>,
    pub(crate) device: usize,
    pub(crate) module: Arc<LoadedModule>,
    pub(crate) kernel: Arc<str>,
    pub(crate) grid: [u32; 3],
    pub(crate) block: [u32; 3],
    pub(crate) dynamic_shared: u32,
    pub(crate) shared_limit: u32,
    /// The parameter block.
    pub(crate) parameters: Vec<u8>,
}

/// Where an upload finds its bytes.
#[derive(Debug, Clone)]
pub(crate) enum HostSource {
    /// Copied when the upload was called, as the driver does with pageable memory.
    Staged(Arc<[u8]>),
    /// Read when the upload executes: pinned memory, and all memory in a graph.
    Deferred { address: HostAddress, bytes: usize },
}

/// Rows from one place on a device to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CopyRows {
    pub(crate) destination: Rows,
    pub(crate) source: Rows,
    /// Bytes of a row.
    pub(crate) width: u64,
    pub(crate) height: u64,
}

/// The first byte of rows, and how many bytes lie from one row to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rows {
    pub(crate) address: u64,
    pub(crate) pitch: u64,
}

/// Rows of a repeated pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fill {
    pub(crate) destination: u64,
    /// Bytes from row to row.
    pub(crate) pitch: u64,
    /// Value in the lowest `element_bytes` bytes.
    pub(crate) value: u32,
    pub(crate) element_bytes: u32,
    /// Elements of a row.
    pub(crate) width: u64,
    pub(crate) height: u64,
}

/// A piece of queued work.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) context: Handle<Context>,
    stage: Mutex<Stage>,
}

#[derive(Debug)]
enum Stage {
    Queued {
        dependencies: Vec<Arc<Work>>,
        action: Action,
    },
    Running,
    /// Instruction clock at the end.
    Done(u64),
}

/// What can be done next about a piece of work.
enum Step {
    Done,
    /// Another thread executes it.
    Elsewhere,
    After(Arc<Work>),
    /// Its turn has come, at this instruction clock.
    Now(Action, u64),
}

impl Work {
    pub(crate) fn new(
        context: Handle<Context>,
        dependencies: Vec<Arc<Work>>,
        action: Action,
    ) -> Arc<Self> {
        Arc::new(Self {
            context,
            stage: Mutex::new(Stage::Queued {
                dependencies,
                action,
            }),
        })
    }

    /// The instruction clock at its end; `None` while it is not done.
    pub(crate) fn finish(&self) -> Option<u64> {
        match *self.stage.lock() {
            Stage::Done(clock) => Some(clock),
            _ => None,
        }
    }

    fn next_step(&self) -> Step {
        let mut stage = self.stage.lock();
        match &mut *stage {
            Stage::Done(_) => Step::Done,
            Stage::Running => Step::Elsewhere,
            Stage::Queued {
                dependencies,
                action,
            } => {
                if let Some(unfinished) = dependencies
                    .iter()
                    .find(|dependency| dependency.finish().is_none())
                {
                    return Step::After(Arc::clone(unfinished));
                }
                let start = dependencies.iter().filter_map(|done| done.finish()).max();
                let action = std::mem::replace(action, Action::Join);
                *stage = Stage::Running;
                Step::Now(action, start.unwrap_or(0))
            }
        }
    }

    fn end(&self, clock: u64) {
        // This drops the dependencies: finished work keeps nothing else alive.
        *self.stage.lock() = Stage::Done(clock);
    }
}

/// How far [`Session::execute`] goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Until the work is done.
    ToTheEnd,
    /// One piece of work, and no waiting for a host function: what a query may do.
    OneStep,
}

impl Session {
    /// Executes `target` with everything it depends on; then the fault of its device, if there is one.
    pub(crate) fn complete(&mut self, target: &Arc<Work>) -> DriverResult {
        self.execute(target, Patience::ToTheEnd);
        self.check_fault_of(target.context)
    }

    /// Executes what `target` needs and `target` itself, as far as `patience` goes.
    pub(crate) fn execute(&mut self, target: &Arc<Work>, patience: Patience) {
        let mut path = vec![Arc::clone(target)];
        while let Some(work) = path.last().map(Arc::clone) {
            match work.next_step() {
                Step::Done => {
                    path.pop();
                    continue;
                }
                Step::After(dependency) => {
                    path.push(dependency);
                    continue;
                }
                Step::Elsewhere if patience == Patience::ToTheEnd => {
                    let finished = &self.driver.finished;
                    finished.wait(&mut self.state);
                }
                Step::Elsewhere => {}
                Step::Now(Action::Call(call), start) => self.start_host_call(&work, call, start),
                Step::Now(action, start) => {
                    let cost = self.perform(work.context, action);
                    work.end(start + cost);
                }
            }
            if patience == Patience::OneStep {
                return;
            }
        }
    }

    /// Runs a host function on a thread of its own, as drivers do: it may wait for other threads of the program, the
    /// one that waits for the work included.
    fn start_host_call(&mut self, work: &Arc<Work>, call: HostCall, start: u64) {
        if self.check_fault_of(work.context).is_err() {
            work.end(start);
            return;
        }
        let (driver, work) = (self.driver, Arc::clone(work));
        std::thread::spawn(move || {
            call.run();
            // The lock makes sure that a waiting thread does not miss the signal.
            let _state = driver.state.lock();
            work.end(start);
            driver.finished.notify_all();
        });
    }
}
