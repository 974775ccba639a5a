//! Seconds of a step of the streamed family: launches that wait for each other, each as long as its slowest pipe.
//!
//! A thread block computes a square block of a product panel by panel, 32 numbers deep. Of a panel it copies both
//! factors to shared memory, reads them as fragments, once for each row and each column of warps, and multiplies. Counts
//! of tensor instructions and wavefronts are those of the emulator, but for the turn of mirrored blocks (under 5 %).

use super::device::{Device, WAVEFRONT};
use super::occupancy::{BlockNeeds, Occupancy, occupancy};
use super::time::{Bound, INSTRUCTION, STREAM, Work, operand_cost};
use himuon_templates::variant::{Streamed, StreamedEntry, StreamedItems, effective_operand};
use himuon_templates::{KernelSpec, Operand};

/// Numbers that a panel is deep.
const DEPTH: f64 = 32.0;
/// Seconds from the end of a launch to the first work of the next one in a stream.
const GAP: f64 = 2e-6;
/// Cycles until a copy from L2 has arrived, and at the barrier of a panel.
const COPY_LATENCY: f64 = 700.0;
const BARRIER: f64 = 40.0;
/// Cycles in which a block begins, and writes what it has computed.
const BLOCK: f64 = 1500.0;
/// Bytes that L2 gives a multiprocessor in a cycle.
const L2_RATE: f64 = 32.0;

/// What the launches of a step are over.
struct Tiles {
    count: f64,
    numbers: f64,
    patches: f64,
    triangle: f64,
    blocks: f64,
    /// Multiply-adds that are as deep as the long and as the short side, in blocks times depth.
    triangle_depth: f64,
    short: f64,
    workspace: f64,
}

/// The time of a step, what most of it is bound by, and registers of a thread of the products.
pub(super) fn step(work: &Work<'_>, settings: &Streamed) -> Option<(f64, Bound, Occupancy, u32)> {
    let (spec, device) = (work.spec, work.device);
    let registers = registers(spec, settings);
    let needs = BlockNeeds {
        threads: settings.threads(),
        registers,
        shared_bytes: settings.shared_bytes(spec),
    };
    let held = occupancy(device, needs)?;
    let tiles = tiles(spec, settings, work.shapes);
    let mut parts: Vec<(f64, Bound)> = Vec::new();
    let launches = settings.map_launches(spec, false).into_iter();
    for launch in launches.chain(settings.update_launches(spec)) {
        parts.push(match launch.entry.is_product() {
            true => product(spec, settings, device, &tiles, held, launch.entry),
            false => pass(spec, device, &tiles, launch.entry),
        });
    }
    let seconds: f64 = parts.iter().map(|(seconds, _)| seconds + GAP).sum();
    let of = |bound: Bound| -> f64 {
        let of_bound = parts.iter().filter(|(_, b)| *b == bound);
        of_bound.map(|(seconds, _)| seconds).sum()
    };
    let bounds = [Bound::Tensor, Bound::Shared, Bound::Memory, Bound::Latency];
    let bound = bounds
        .into_iter()
        .max_by(|a, b| of(*a).total_cmp(&of(*b)))
        .unwrap_or(Bound::Latency);
    Some((seconds.max(work.memory), bound, held, registers))
}

/// Four warps of 64 x 64 numbers take 238 to 244, eight of 64 x 32 126: as the compiler says of 16-bit operands.
fn registers(spec: &KernelSpec, settings: &Streamed) -> u32 {
    let added = match (settings.block, settings.warps) {
        (128, 4) => 44,
        _ => 0,
    };
    ((settings.registers(spec) + added) / 8 * 8).min(255)
}

fn tiles(spec: &KernelSpec, settings: &Streamed, shapes: &[(usize, usize)]) -> Tiles {
    let mut sum = Tiles {
        count: 0.0,
        numbers: 0.0,
        patches: 0.0,
        triangle: 0.0,
        blocks: 0.0,
        triangle_depth: 0.0,
        short: 0.0,
        workspace: 0.0,
    };
    for &(rows, columns) in shapes {
        let (height, width) = spec.tile.effective(rows, columns);
        for (down, h) in cut(rows, height) {
            for (across, w) in cut(columns, width) {
                let count = (down * across) as f64;
                let tile = settings.tile(spec, h as u32, w as u32);
                sum.count += count;
                sum.numbers += count * (h * w) as f64;
                sum.patches += count * f64::from(tile.patches);
                sum.triangle += count * f64::from(tile.triangle);
                sum.blocks += count * f64::from(tile.blocks);
                sum.triangle_depth += count * f64::from(tile.triangle) * h.max(w) as f64;
                sum.short += count * h.min(w) as f64;
                sum.workspace += count * tile.workspace_bytes as f64;
            }
        }
    }
    sum
}

/// Whole edges and the rest: how many, how long.
fn cut(length: usize, edge: usize) -> impl Iterator<Item = (usize, usize)> {
    let edge = edge.max(1);
    let parts = [(length / edge, edge), (1, length % edge)];
    parts.into_iter().filter(|(count, edge)| count * edge > 0)
}

/// A product over all tiles.
fn product(
    spec: &KernelSpec,
    settings: &Streamed,
    device: &Device,
    tiles: &Tiles,
    held: Occupancy,
    entry: StreamedEntry,
) -> (f64, Bound) {
    let bytes = operand_bytes(spec);
    let (blocks, depth) = match entry.items() {
        StreamedItems::Triangle if entry == StreamedEntry::Gram => (
            tiles.triangle,
            tiles.triangle_depth / tiles.triangle.max(1.0),
        ),
        StreamedItems::Triangle => (tiles.triangle, tiles.short / tiles.count.max(1.0)),
        _ => (tiles.blocks, tiles.short / tiles.count.max(1.0)),
    };
    let panels = (depth / DEPTH).ceil();
    let edge = f64::from(settings.block);
    let warps = f64::from(settings.warps);
    let (tensor_factor, _) = operand_cost(spec);
    let tensor = edge * edge * DEPTH * tensor_factor / device.tensor_rate;
    // Two rows of warps.
    let fragments = warps * (edge / 2.0 + 2.0 * edge / warps) * DEPTH;
    let copied = 2.0 * edge * DEPTH;
    let shared = (fragments + copied) * bytes / WAVEFRONT;
    let split = if effective_operand(spec) == Operand::F32 {
        3.0
    } else {
        0.0
    };
    let issued = edge * edge * DEPTH * tensor_factor / INSTRUCTION
        + fragments * (bytes / 512.0 + split / 32.0)
        + copied * bytes / 512.0;
    let pipes = [
        (tensor, Bound::Tensor),
        (shared, Bound::Shared),
        (issued / 4.0, Bound::Issue),
    ];
    let (panel, pipe) = slowest(&pipes);
    let processors = f64::from(device.multiprocessors);
    let on_each = (blocks / processors).ceil();
    let held = f64::from(held.blocks);
    // A multiprocessor is busy, or all its blocks wait for their copies.
    let wait = BARRIER + COPY_LATENCY / f64::from(settings.stages - 1);
    let wave = |blocks: f64| BLOCK + panels * (blocks * panel).max(wait + panel);
    let rest = on_each % held;
    let cycles = (on_each / held).floor() * wave(held) + if rest > 0.0 { wave(rest) } else { 0.0 };
    let busy = on_each * panels * panel;
    let compute = cycles / device.clock;
    let bound = if busy >= 0.6 * cycles {
        pipe
    } else {
        Bound::Latency
    };
    let from_l2 = blocks * panels * copied * bytes / (L2_RATE * processors * device.clock);
    // Once from memory: X and the Gram matrices, and what is written.
    let moved = match entry {
        StreamedEntry::Multiply => 2.0 * tiles.numbers + tiles.triangle * edge * edge,
        StreamedEntry::Gram => tiles.numbers + tiles.triangle * edge * edge,
        _ => 3.0 * tiles.triangle * edge * edge,
    };
    let memory = through_memory(device, tiles, moved * bytes);
    slowest(&[
        (compute, bound),
        (from_l2, Bound::Memory),
        (memory, Bound::Memory),
    ])
}

/// A launch that reads and writes numbers one by one.
fn pass(spec: &KernelSpec, device: &Device, tiles: &Tiles, entry: StreamedEntry) -> (f64, Bound) {
    let (weight, momentum) = (
        spec.storage.weight.bytes() as f64,
        spec.storage.momentum.bytes() as f64,
    );
    let remainder = spec.storage.remainder_bytes() as f64;
    let operand = operand_bytes(spec);
    // Of the caller's tensors, and of the workspace.
    let (outside, inside) = match entry {
        StreamedEntry::Scan => (weight + momentum, 4.0),
        StreamedEntry::Normalise => (0.0, 8.0 + operand),
        StreamedEntry::RescaleRows => (0.0, 8.0 + operand),
        StreamedEntry::Measure => (0.0, 8.0),
        StreamedEntry::Finish => (3.0 * weight + 2.0 * (momentum + remainder), 4.0),
        StreamedEntry::Update => (2.0 * (weight + remainder), 4.0),
        StreamedEntry::RowSums => (0.0, operand),
        _ => (0.0, 0.0),
    };
    let seconds = outside * tiles.numbers / (STREAM * device.bandwidth)
        + through_memory(device, tiles, inside * tiles.numbers);
    let waves = (tiles.patches / f64::from(4 * device.multiprocessors)).ceil();
    let latency = waves.max(1.0) * BLOCK / device.clock;
    slowest(&[(seconds, Bound::Memory), (latency, Bound::Latency)])
}

/// Seconds for bytes of the workspace: from L2 where it holds all of it.
fn through_memory(device: &Device, tiles: &Tiles, bytes: f64) -> f64 {
    match tiles.workspace <= device.l2 {
        true => bytes / (L2_RATE * f64::from(device.multiprocessors) * device.clock),
        false => bytes / (STREAM * device.bandwidth),
    }
}

fn operand_bytes(spec: &KernelSpec) -> f64 {
    match effective_operand(spec) {
        Operand::F32 | Operand::Tf32 => 4.0,
        Operand::Bf16 | Operand::F16 => 2.0,
    }
}

fn slowest(parts: &[(f64, Bound)]) -> (f64, Bound) {
    let of_all = parts.iter().copied().max_by(|a, b| a.0.total_cmp(&b.0));
    of_all.unwrap_or((0.0, Bound::Latency))
}

#[cfg(test)]
mod tests {
    use super::super::device::Device;
    use super::super::time::launch;
    use super::*;
    use himuon_templates::Variant;

    fn seconds(settings: Streamed, target: &str, edge: usize) -> f64 {
        let spec: KernelSpec = "tile=full element=bf16".parse().unwrap();
        let device = Device::of(target).unwrap();
        let variant = Variant::Streamed(settings);
        launch(&spec, &variant, &device, &[(edge, edge)], None)
            .unwrap()
            .seconds
    }

    #[test]
    fn large_products_approach_the_tensor_cores_and_small_ones_wait() {
        let four = Streamed {
            block: 128,
            warps: 4,
            stages: 3,
        };
        let eight = Streamed { warps: 8, ..four };
        // Gram and square one triangle, multiply all: 5 (1 + 1/2 + 1/2) 4096^3 multiply-adds and the diagonal.
        let device = Device::of("sm_80").unwrap();
        let rate = device.tensor_rate * device.clock * f64::from(device.multiprocessors);
        let least = 10.0 * 4096f64.powi(3) / rate;
        let found = seconds(four, "sm_80", 4096);
        assert!(found > least && found < 3.0 * least, "{found} {least}");
        // Eight warps read a third more of shared memory.
        assert!(seconds(eight, "sm_80", 4096) >= found);
        // Twenty launches take their time whatever is in them.
        let small = seconds(four, "sm_80", 64);
        assert!(small > 20.0 * GAP && small < 1e-3, "{small}");
        assert!(seconds(four, "sm_90a", 4096) < found);
    }
}
