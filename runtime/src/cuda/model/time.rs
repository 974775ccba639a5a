//! Seconds of a launch.

pub(super) use super::counts::operand_cost;
use super::counts::{TileCounts, of_tile};
use super::device::{Device, SCHEDULERS, WAVEFRONT};
use super::occupancy::{BlockNeeds, Occupancy, occupancy};
use super::streamed;
use super::{Estimate, Machine};
use himuon_templates::KernelSpec;
use himuon_templates::variant::{Plain, Resident};
use himuon_templates::{StepTable, Variant};
use std::fmt;

/// Seconds that a launch takes beside its work.
const LAUNCH: f64 = 3e-6;
/// 16-bit multiply-adds of one tensor instruction.
pub(super) const INSTRUCTION: f64 = 16.0 * 8.0 * 16.0;
/// Cycles that a warp waits for a dependent product's first operands, and at a barrier.
const PRODUCT_LATENCY: f64 = 180.0;
const BARRIER_LATENCY: f64 = 40.0;
/// Cycles of a tile's first loads and last stores.
const MEMORY_LATENCY: f64 = 1500.0;
/// Registers that the compiler adds to those that a lane surely holds: 18 to 52 over the stock grid.
const ADDED_REGISTERS: u32 = 40;
/// Bytes of spilled registers that a multiprocessor moves in a cycle.
const LOCAL: f64 = 64.0;
/// Part of the multiply-add rate that the plain kernels reach; each operand comes from the caches.
const PLAIN_PART: f64 = 0.08;
/// Part of the memory's bandwidth that a kernel reaches.
pub(super) const STREAM: f64 = 0.9;

/// What the time of a launch is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Tensor cores.
    Tensor,
    /// Shared memory.
    Shared,
    /// Issued instructions.
    Issue,
    /// Global memory.
    Memory,
    /// Products that wait for each other, with too few tiles beside.
    Latency,
    /// f32 multiply-adds.
    Float,
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Bound::Tensor => "tensor",
            Bound::Shared => "shared",
            Bound::Issue => "issue",
            Bound::Memory => "memory",
            Bound::Latency => "latency",
            Bound::Float => "float",
        })
    }
}

/// The estimate of a launch of matrices of these shapes (rows, columns); `None`: the variant does not fit. `known` is what
/// the compiled kernel takes.
pub fn launch(
    spec: &KernelSpec,
    variant: &Variant,
    device: &Device,
    shapes: &[(usize, usize)],
    known: Option<Machine>,
) -> Option<Estimate> {
    let table = spec.step_table().ok()?;
    let elements: usize = shapes.iter().map(|(rows, columns)| rows * columns).sum();
    let tiles: usize = shapes
        .iter()
        .map(|&(rows, columns)| {
            let (height, width) = spec.tile.effective(rows, columns);
            rows.div_ceil(height.max(1)) * columns.div_ceil(width.max(1))
        })
        .sum();
    let memory_floor = (elements * bytes_of_element(spec)) as f64 / device.bandwidth;
    let work = Work {
        spec,
        table: &table,
        device,
        shapes,
        tiles: tiles as f64,
        memory: memory_floor / STREAM,
        known,
    };
    let (seconds, bound, occupancy, registers) = match variant {
        Variant::Resident(settings) => work.resident(settings)?,
        Variant::Streamed(settings) => streamed::step(&work, settings)?,
        Variant::Plain(settings) => work.plain(settings)?,
    };
    Some(Estimate {
        variant: *variant,
        seconds: seconds + LAUNCH,
        memory_floor,
        bound,
        occupancy,
        registers,
        compiled: known.is_some(),
    })
}

/// Gradient, momentum and weight are read once, momentum and weight written once, weights with what masters have more.
fn bytes_of_element(spec: &KernelSpec) -> usize {
    3 * spec.storage.weight.bytes()
        + 2 * (spec.storage.momentum.bytes() + spec.storage.remainder_bytes())
}

type Timed = (f64, Bound, Occupancy, u32);

pub(super) struct Work<'a> {
    pub(super) spec: &'a KernelSpec,
    table: &'a StepTable,
    pub(super) device: &'a Device,
    pub(super) shapes: &'a [(usize, usize)],
    tiles: f64,
    /// Seconds of the memory traffic.
    pub(super) memory: f64,
    known: Option<Machine>,
}

impl Work<'_> {
    fn resident(&self, settings: &Resident) -> Option<Timed> {
        let shape = settings.shape(self.spec)?;
        let estimated = || (settings.registers(self.spec, &shape) + ADDED_REGISTERS).min(255);
        let machine = self.known.unwrap_or_else(|| Machine {
            registers: estimated(),
            spilled_bytes: 0,
            issued: None,
        });
        let registers = machine.registers;
        let needs = BlockNeeds {
            threads: shape.threads,
            registers,
            shared_bytes: shape.shared_bytes,
        };
        let held = occupancy(self.device, needs)?;
        let counts = of_tile(self.spec, self.table, settings, &shape);
        let schedulers = f64::from(SCHEDULERS.min(held.warps));
        let tensor_interval = INSTRUCTION * f64::from(SCHEDULERS) / self.device.tensor_rate;
        // Cycles of a tile on each pipe of a multiprocessor.
        let spills = f64::from(machine.spilled_bytes * shape.threads / shape.tiles_per_block);
        let issued = match machine.issued {
            Some(of_warp) => f64::from(of_warp * shape.warps),
            None => counts.issued,
        };
        let pipes = [
            (counts.tensor * tensor_interval / schedulers, Bound::Tensor),
            (counts.wavefronts * 128.0 / WAVEFRONT, Bound::Shared),
            (
                issued / schedulers + spills * self.table.steps() as f64 / LOCAL,
                Bound::Issue,
            ),
        ];
        let (cycles, pipe) = pipes
            .into_iter()
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .unwrap_or((0.0, Bound::Issue));
        let held_tiles = f64::from(held.blocks * shape.tiles_per_block);
        let chain = self.chain(&counts, f64::from(shape.warps), tensor_interval, cycles);
        let (seconds, bound) = self.waves(cycles, pipe, chain, held_tiles);
        Some((seconds, bound, held, registers))
    }

    /// Cycles from a tile's first load to its last store: its fair share of the memory, then products that wait for each
    /// other on pipes that are busy for `cycles`.
    fn chain(&self, counts: &TileCounts, warps: f64, tensor_interval: f64, cycles: f64) -> f64 {
        let traffic = self.memory * self.device.clock / self.tiles.max(1.0);
        let transfer = traffic * f64::from(self.device.multiprocessors);
        let products = counts.tensor / warps * tensor_interval
            + counts.products * PRODUCT_LATENCY
            + counts.barriers * BARRIER_LATENCY;
        MEMORY_LATENCY + transfer + products.max(cycles)
    }

    /// All tiles, as many at a time as the device holds: either the pipes are busy, or everybody waits.
    fn waves(&self, cycles: f64, pipe: Bound, chain: f64, held: f64) -> (f64, Bound) {
        let processors = f64::from(self.device.multiprocessors);
        let on_each = (self.tiles / processors).ceil();
        let rounds = (on_each / held).ceil();
        let busy = on_each * cycles;
        let waiting = rounds * chain;
        let (compute, bound) = match busy >= waiting {
            true => (busy, pipe),
            false => (waiting, Bound::Latency),
        };
        let compute = compute / self.device.clock;
        if compute >= self.memory {
            (compute, bound)
        } else {
            (self.memory, Bound::Memory)
        }
    }

    /// Fused multiply-adds on operands in the caches.
    fn plain(&self, Plain { warps }: &Plain) -> Option<Timed> {
        let registers = self.known.map_or(64, |machine| machine.registers);
        let needs = BlockNeeds {
            threads: 32 * warps,
            registers,
            shared_bytes: 0,
        };
        let held = occupancy(self.device, needs)?;
        let multiply_adds: f64 = self
            .shapes
            .iter()
            .map(|&(rows, columns)| {
                let (height, width) = self.spec.tile.effective(rows, columns);
                let depth = height.min(width) as f64;
                (rows * columns) as f64 * depth * self.table.products() as f64
            })
            .sum();
        let processors = f64::from(self.device.multiprocessors);
        // A tile is one block's: few tiles leave multiprocessors idle, and few warps leave lanes idle.
        let blocks = (self.tiles / processors).min(f64::from(held.blocks));
        let lanes = (blocks.max(1.0) * f64::from(*warps) / 16.0).min(1.0);
        let used = (self.tiles / processors).min(1.0);
        let rate = self.device.float_rate * self.device.clock * processors * PLAIN_PART;
        let seconds = multiply_adds / (rate * lanes * used);
        let timed = match seconds >= self.memory {
            true => (seconds, Bound::Float),
            false => (self.memory, Bound::Memory),
        };
        Some((timed.0, timed.1, held, registers))
    }
}

#[cfg(test)]
mod tests {
    use super::super::ranked;
    use super::*;

    fn best(spec: &str, target: &str) -> Estimate {
        let spec: KernelSpec = spec.parse().unwrap();
        let device = Device::of(target).unwrap();
        let all = ranked(&spec, &device, &[(4096, 4096); 8], &|_| None);
        assert!(all.len() >= 12, "{spec}: {}", all.len());
        assert!(
            all.iter()
                .all(|estimate| estimate.seconds >= estimate.memory_floor)
        );
        all[0].clone()
    }

    #[test]
    fn what_the_model_knows() {
        // Small tiles stream, large ones multiply.
        let small = best("tile=16 element=bf16", "sm_80");
        let large = best("tile=128 element=bf16", "sm_80");
        assert!(small.seconds < large.seconds);
        assert!(matches!(large.variant, Variant::Resident(_)));
        assert_ne!(large.bound, Bound::Memory);
        // f32 products cost more than 16-bit ones, newer devices less time.
        let wide = best("tile=128", "sm_80");
        assert!(wide.seconds > large.seconds);
        assert!(best("tile=128 element=bf16", "sm_90a").seconds < large.seconds);
        // What no chip holds streams.
        let full = best("tile=full element=bf16", "sm_80");
        assert!(matches!(full.variant, Variant::Streamed(_)));
    }
}
