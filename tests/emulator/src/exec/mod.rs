//! Execution of blocks, warps and lanes, with every check.
//!
//! [`launch`] checks the launch against the device and spreads blocks over threads; a block runs its warps in turn; a
//! warp steps through decoded instructions for 32 lanes at once. Nothing of one block outlives it but global memory.

mod access;
mod barrier;
mod block;
mod clock;
mod copies;
mod env;
mod exchange;
mod execute;
mod global;
mod local;
mod mbarrier;
mod mma;
mod random;
mod registers;
mod shared;
mod splits;
mod synchronise;
mod tally;
mod tensor;
mod trouble;
mod warp;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use block::{Block, Progress};
use env::Env;
use global::GlobalView;
use random::Random;

use crate::device::{Device, Launch, LoadedModule};
use crate::fault::Resource;
use crate::options::Order;
use crate::ptx::Kernel;
use crate::{Counters, Fault, FaultKind, Site};

/// Instructions after which a block gives way to others on its thread, in case it waits for one of them.
const TURN: u64 = 4_000_000;

/// Runs a kernel to its end or to the first fault.
pub(crate) fn launch(
    device: &Device,
    module: &LoadedModule,
    launch: &Launch<'_>,
) -> Result<Counters, Fault> {
    let Some(kernel) = module.kernel(launch.kernel) else {
        let available = module
            .module()
            .kernels()
            .map(Kernel::name)
            .collect::<Vec<_>>()
            .join(", ");
        return Err(refused(launch, FaultKind::UnknownKernel { available }));
    };
    let dynamic_base = kernel
        .static_shared_bytes()
        .next_multiple_of(kernel.dynamic_align);
    let shared_bytes = dynamic_base.saturating_add(launch.dynamic_shared_bytes);
    check_resources(device, kernel, launch, shared_bytes)?;
    let env = Env {
        kernel,
        config: &device.config,
        options: &launch.options,
        params: launch.params,
        grid: launch.grid,
        block: launch.block,
        view: GlobalView::new(
            &device.memory,
            launch.grid,
            (launch.options.checks && launch.options.block_conflicts)
                .then_some(kernel.cells.global),
        ),
        constants: env::constants(kernel, module.global_addresses(), dynamic_base),
        dynamic_shared_bytes: launch.dynamic_shared_bytes,
        shared_bytes,
    };
    run_grid(&env)
}

fn refused(launch: &Launch<'_>, kind: FaultKind) -> Fault {
    Fault {
        kind,
        site: Box::new(Site {
            kernel: launch.kernel.to_owned(),
            ..Site::default()
        }),
    }
}

fn check_resources(
    device: &Device,
    kernel: &Kernel,
    launch: &Launch<'_>,
    shared_bytes: u32,
) -> Result<(), Fault> {
    let config = &device.config;
    let product = |extents: [u32; 3]| {
        extents
            .iter()
            .map(|extent| u64::from(*extent))
            .product::<u64>()
    };
    let threads = product(launch.block);
    let max_threads = kernel
        .max_threads()
        .map_or(u64::from(config.max_threads_per_block), |max| {
            product(max).min(u64::from(config.max_threads_per_block))
        });
    let shared_limit = launch
        .options
        .shared_limit
        .unwrap_or(config.shared_bytes_per_block_optin);
    let registers = u64::from(kernel.registers()) * threads.next_multiple_of(32);
    let mut needs = vec![
        (Resource::Threads, threads, max_threads),
        (
            Resource::SharedBytes,
            u64::from(shared_bytes),
            u64::from(shared_limit),
        ),
        (
            Resource::Registers,
            registers,
            u64::from(config.registers_per_block),
        ),
    ];
    for axis in 0..3 {
        needs.push((
            Resource::BlockExtent,
            u64::from(launch.block[axis]),
            u64::from(config.max_block[axis]),
        ));
        needs.push((
            Resource::GridExtent,
            u64::from(launch.grid[axis]),
            u64::from(config.max_grid[axis]),
        ));
    }
    // Blocks are numbered in 32 bits.
    needs.push((
        Resource::GridExtent,
        product(launch.grid),
        u64::from(u32::MAX - 2),
    ));
    if let Some((resource, requested, limit)) = needs
        .into_iter()
        .find(|(_, requested, limit)| requested > limit)
    {
        return Err(refused(
            launch,
            FaultKind::ExceededResource {
                resource,
                requested,
                limit,
            },
        ));
    }
    if threads == 0 || product(launch.grid) == 0 {
        return Err(refused(
            launch,
            FaultKind::InvalidUse {
                detail: "a grid or block without threads".to_owned(),
            },
        ));
    }
    let (given, wanted) = (launch.params.len(), kernel.param_bytes() as usize);
    if given != wanted {
        return Err(refused(
            launch,
            FaultKind::InvalidUse {
                detail: format!("{given} bytes of parameters, the kernel has {wanted}"),
            },
        ));
    }
    Ok(())
}

/// The order in which blocks start.
fn block_order(env: &Env<'_>) -> Vec<u32> {
    let mut order: Vec<u32> = (0..env.grid.iter().product()).collect();
    if let Order::Random(seed) = env.options.order {
        let mut random = Random::new(seed, u64::MAX);
        for last in (1..order.len()).rev() {
            order.swap(last, random.below(last as u64 + 1) as usize);
        }
    }
    order
}

fn run_grid(env: &Env<'_>) -> Result<Counters, Fault> {
    let order = block_order(env);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = if env.options.threads == 0 {
        cores
    } else {
        env.options.threads
    }
    .min(order.len());
    let shared = Progression {
        order,
        next: AtomicUsize::new(0),
        stop: AtomicBool::new(false),
        outcome: Mutex::new(Outcome::default()),
    };
    if threads == 1 {
        work(env, &shared);
    } else {
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| work(env, &shared));
            }
        });
    }
    let outcome = shared
        .outcome
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    match outcome.fault {
        Some((_, fault)) => Err(fault),
        None => Ok(outcome.counters),
    }
}

/// What the threads of one launch share.
struct Progression {
    order: Vec<u32>,
    next: AtomicUsize,
    stop: AtomicBool,
    outcome: Mutex<Outcome>,
}

#[derive(Default)]
struct Outcome {
    counters: Counters,
    /// The fault that comes first in the order of blocks.
    fault: Option<(usize, Fault)>,
}

/// One thread: starts blocks while there are any, and takes up again those that gave way.
fn work(env: &Env<'_>, shared: &Progression) {
    let mut spare: Vec<Block> = Vec::new();
    let mut waiting: VecDeque<(usize, Block)> = VecDeque::new();
    let mut counters = Counters::default();
    while !shared.stop.load(Relaxed) {
        let fresh = shared.next.fetch_add(1, Relaxed);
        let (place, mut block) = if let Some(number) = shared.order.get(fresh) {
            let mut block = spare.pop().unwrap_or_default();
            block.start(env, *number);
            (fresh, block)
        } else if let Some(resumed) = waiting.pop_front() {
            resumed
        } else {
            break;
        };
        match block.run(env, TURN) {
            Ok(Progress::Finished) => {
                counters.merge(&block.take_tally().into_counters());
                spare.push(block);
            }
            Ok(Progress::Unfinished) => waiting.push_back((place, block)),
            Err(fault) => {
                shared.stop.store(true, Relaxed);
                let mut outcome = shared
                    .outcome
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                if outcome
                    .fault
                    .as_ref()
                    .is_none_or(|(earlier, _)| place < *earlier)
                {
                    outcome.fault = Some((place, fault));
                }
            }
        }
    }
    shared
        .outcome
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .counters
        .merge(&counters);
}
