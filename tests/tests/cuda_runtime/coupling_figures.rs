//! What the launches around coupled tiles cost, and tiles that take their coarse part in: the figures of `docs/cuda-kernels.md`.

use half::bf16;
use himuon::HiMuon;
use himuon::ParameterStep;
use himuon::cuda::{Device, DeviceMut, DeviceRef};
use himuon::optimizer::MuonOptions;
use himuon_toolkit::emulated::{Inspection, KernelCounters};
use std::collections::BTreeMap;

use crate::emulator::emulated;
use crate::model::{Model, OnDevice, normal, spec};

const EDGE: usize = 256;
const RANK: usize = 32;

/// Launch, and bytes an element in whole sectors that it reads and writes at most: of gradient and weight 2 each, of momentum and
/// remainder 4; the others are factors, of which a block of 64 rows or columns, or of 64 x 64 numbers, reads its parts once,
/// and tables. Measured: 8.2 and 2.0, 8.2 and 2.0, 11.2 and 4.0, 6.9 and 2.0 twice, 26.5 and 6.0.
const BOUNDS: [(&str, f64, f64); 6] = [
    ("himuon_couple_rows", 8.5, 2.01),
    ("himuon_couple_columns", 8.5, 2.01),
    ("himuon_couple_remainder", 11.5, 4.01),
    ("himuon_couple_fine_rows", 7.2, 2.01),
    ("himuon_couple_fine_columns", 7.2, 2.01),
    ("himuon_couple_finish", 27.0, 6.01),
];

/// Edge of a tile, and what its step reads at most where it takes the coarse part in: 8 bytes an element of gradient, momentum and
/// weight, twice the factors of its rows and columns, 16 r / T, and tables. At T = 16, where four columns of a factor find room at a
/// time, every sector of them is read in two halves. Measured: 12.8, 16.8, 25.6 and 78.3.
const ONE_PASS: [(usize, f64); 4] = [(128, 13.0), (64, 17.0), (32, 26.0), (16, 79.0)];

fn numbers(seed: u64, count: usize) -> Vec<bf16> {
    let numbers = normal(seed, count);
    numbers.into_iter().map(bf16::from_f32).collect()
}

/// What one step of a matrix counts, by launch.
fn counted([rows, columns]: [usize; 2], text: &str) -> BTreeMap<String, KernelCounters> {
    let device = OnDevice::new(&Model::new(&[], 0));
    let text = format!("{text} coarse={RANK} element=bf16 momentum=f32 operand=bf16");
    let builder = HiMuon::builder()
        .parameter("w", &[rows, columns])
        .group_with("w", MuonOptions::specs([spec(&text)]));
    let mut optimizer: HiMuon<Device> = device.optimizer(builder);
    let mut weight = device
        .stream
        .clone_htod(&numbers(1, rows * columns))
        .unwrap();
    let gradient = device
        .stream
        .clone_htod(&numbers(2, rows * columns))
        .unwrap();
    let inspection = Inspection::open().unwrap();
    inspection.reset_counters();
    optimizer
        .step(&mut [ParameterStep {
            weight: DeviceMut::of(&mut weight, &device.stream),
            gradient: Some(DeviceRef::of(&gradient, &device.stream)),
        }])
        .unwrap();
    device.stream.synchronize().unwrap();
    inspection.counters()
}

/// Bytes an element of whole sectors.
fn bytes(sectors: u64) -> f64 {
    32.0 * sectors as f64 / (EDGE * EDGE) as f64
}

#[test]
fn what_is_as_large_as_the_matrix_is_read_once_and_without_conflicts() {
    let test =
        "coupling_figures::what_is_as_large_as_the_matrix_is_read_once_and_without_conflicts";
    emulated(test, &[], || {
        let counters = counted([EDGE; 2], "tile=64 fine=projected");
        for (name, most_read, most_written) in BOUNDS {
            let found = &counters[name];
            let read = bytes(found.global_sectors_read);
            let written = bytes(found.global_sectors_written);
            println!("measured: {name}: {read:.1} bytes an element read, {written:.1} written");
            assert!(read <= most_read, "{name}: {read}");
            assert!(written <= most_written, "{name}: {written}");
            let (wavefronts, ideal) = (found.shared_wavefronts, found.shared_ideal_wavefronts);
            // Factors of a patch are turned on their way into shared memory, which costs a fifth.
            let turned = name.ends_with("remainder") || name.ends_with("finish");
            let allowed = if turned { ideal + ideal / 5 } else { ideal };
            assert!(wavefronts <= allowed, "{name}: {wavefronts} of {ideal}");
        }
    });
}

#[test]
fn in_one_pass_what_is_left_is_in_no_memory() {
    let test = "coupling_figures::in_one_pass_what_is_left_is_in_no_memory";
    emulated(test, &[], || {
        for (edge, most_read) in ONE_PASS {
            let counters = counted([EDGE; 2], &format!("tile={edge} fine=fused"));
            let step = &counters["himuon_step"];
            let read = bytes(step.global_sectors_read);
            let written = bytes(step.global_sectors_written);
            let (wavefronts, ideal) = (step.shared_wavefronts, step.shared_ideal_wavefronts);
            println!(
                "measured: tile {edge}: {read:.1} bytes an element read, {written:.1} written, {wavefronts} wavefronts of {ideal}"
            );
            assert!(read <= most_read, "tile {edge}: {read}");
            assert!(written <= 6.01, "tile {edge}: {written}");
            assert_eq!(wavefronts, ideal, "tile {edge}");
            let launches: Vec<_> = counters.keys().collect();
            assert_eq!(
                launches.len(),
                9,
                "no launch between or behind: {launches:?}"
            );
        }
    });
}

/// Rows of a tall matrix, whose left factors have 64 chunks.
const TALL: usize = 8192;

/// Launch, blocks, and warp instructions of one of them on average at most. Measured: 4960, 10303, 8822, and 88962 where one block has the matrices of rank x rank numbers.
const OF_A_BLOCK: [(&str, u64, u64); 4] = [
    ("himuon_couple_apply", 2 * 128 + 1, 6000),
    ("himuon_couple_gram", 2 * 64 + 2, 12000),
    ("himuon_couple_parts", 128 + 1, 10000),
    ("himuon_couple_factor", 4, 100_000),
];

#[test]
fn no_block_walks_all_rows_of_a_factor() {
    let test = "coupling_figures::no_block_walks_all_rows_of_a_factor";
    emulated(test, &[], || {
        let counters = counted([TALL, 64], "tile=64 fine=fused");
        for (name, blocks, most) in OF_A_BLOCK {
            let found = &counters[name];
            let of_block = found.warp_instructions / found.blocks;
            println!("measured: {name}: {of_block} warp instructions a block");
            assert_eq!(found.blocks, blocks, "{name}");
            assert!(of_block <= most, "{name}: {of_block}");
        }
    });
}
