//! The suite on the streamed kernels: tiles of any size in a workspace, on the emulated driver, whose checks fail a
//! launch.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test without its device fails")]

use himuon::KernelSpec;
use himuon::templates::{Mode, Operand, Tile, Variant};
use himuon_tests::backend::Backend;
use himuon_tests::conformance::step_case::{StepCase, run};
use himuon_tests::conformance::{criteria, maps};
use himuon_tests::cuda::CudaBackend;
use himuon_tests::grid::{Grid, long_tests};
use himuon_tests::inputs::Input;
use himuon_tests::report::Report;
use himuon_tests::specs::{every_recurrence, tile, with_tile};
use himuon_toolkit::emulated::isolated;

/// Small blocks, so that small matrices have several.
const SMALL: &str = "streamed:block=64,warps=4,stages=3";
/// As by default on large tiles.
const LARGE: &str = "streamed:block=128,warps=4,stages=3";

fn backend(target: &'static str, variant: &str) -> CudaBackend {
    let variant: Variant = variant.parse().unwrap();
    CudaBackend::new(target).unwrap().with_variant(variant)
}

fn parsed(text: &str) -> KernelSpec {
    text.parse().unwrap()
}

/// Mixed shapes, tall, wide and narrow, whole tiles and ragged ones, with room between the rows.
fn case(text: &str) -> StepCase {
    StepCase {
        shapes: vec![(144, 100), (40, 176), (1, 20), (17, 3)],
        gaps: (3, 17),
        ..StepCase::new(text, parsed(text))
    }
}

#[test]
fn whole_steps_of_every_recurrence() {
    let mut backend = backend("sm_80", SMALL);
    let mut report = Report::default();
    for (label, spec) in every_recurrence() {
        let mut case = StepCase::new(label, with_tile(&spec, Tile::Full));
        case.shapes = vec![(33, 70), (80, 66), (1, 20), (5, 1)];
        case.steps = 1;
        report.merge(run(&mut backend, &case));
    }
    report.finish("streamed");
}

#[test]
fn whole_steps_of_large_tiles() {
    let mut report = Report::default();
    let mut default = CudaBackend::new("sm_80").unwrap();
    for text in [
        "tile=136x160",
        "tile=full power=1/2",
        "tile=full momentum=bf16 weight=f16",
    ] {
        report.merge(run(&mut default, &case(text)));
    }
    report.finish("streamed");
}

#[test]
fn tiles_with_a_nan_or_an_infinity_stay_as_they_are() {
    let mut backend = backend("sm_80", SMALL);
    let mut report = Report::default();
    for text in ["tile=40x72 weight=bf16", "tile=full power=1/2"] {
        let mut case = case(text);
        case.poison = true;
        report.merge(run(&mut backend, &case));
    }
    report.finish("streamed");
}

#[test]
fn criteria_decide_as_the_reference_does() {
    criteria::run_all(&mut backend("sm_80", SMALL)).finish("streamed");
}

fn grid(roundings: Vec<(Operand, Mode)>, kept: &[&str], inputs: Vec<Input>) -> Grid {
    let mut specs = every_recurrence();
    specs.retain(|(label, _)| kept.iter().any(|kept| label.starts_with(kept)));
    Grid {
        specs,
        tiles: vec![
            (Tile::Full, vec![(80, 100)]),
            (tile(136, 70), vec![(144, 100)]),
        ],
        inputs,
        roundings,
        ..Grid::roundings(64)
    }
}

#[test]
fn maps_in_sixteen_bits_and_tf32() {
    let mut report = Report::default();
    let inputs = if long_tests("every recurrence, operand and input on streamed tiles") {
        Input::ALL.to_vec()
    } else {
        vec![Input::Gaussian, Input::RankOne]
    };
    let all = ["muon", "polar", "cubic", "turbo", "fitted", "coupled"];
    let bf16 = grid(vec![(Operand::Bf16, Mode::Accurate)], &all, inputs.clone());
    report.merge(maps::run(&mut backend("sm_80", LARGE), &bf16));
    let others = vec![
        (Operand::Tf32, Mode::Accurate),
        (Operand::F16, Mode::Accurate),
    ];
    let others = grid(others, &["muon", "fitted"], inputs.clone());
    report.merge(maps::run(&mut backend("sm_80", SMALL), &others));
    let published = grid(vec![(Operand::F32, Mode::Reference)], &["muon"], inputs);
    report.merge(maps::run(&mut backend("sm_80", SMALL), &published));
    report.finish("streamed");
}

#[test]
fn the_first_tensor_cores() {
    isolated(
        "the_first_tensor_cores",
        &[("HIMUON_EMULATOR_DEVICES", "sm_75")],
        || {
            let f16 = vec![(Operand::F16, Mode::Accurate)];
            let grid = grid(f16, &["muon", "coupled"], vec![Input::Gaussian]);
            let settings = "streamed:block=64,warps=4,stages=2";
            maps::run(&mut backend("sm_75", settings), &grid).finish("streamed");
        },
    )
    .unwrap();
}

/// The map of a matrix of several tiles, in bits.
fn bits(mut backend: CudaBackend, spec: &str) -> Vec<u32> {
    use himuon::reference::Normalisation;
    use himuon::tensor::TensorRef;
    let values: Vec<f32> = (0..150 * 170_u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / 2e7 - 0.4)
        .collect();
    let matrix = TensorRef::F32(&values);
    let mapped = backend.map(&parsed(spec), matrix, 150, 170, Normalisation::None);
    mapped.unwrap().0.iter().map(|v| v.to_bits()).collect()
}

const SAME_BITS: &str = "tile=72x100 operand=bf16 coefficients=turbo";

#[test]
fn ranges_of_tiles_and_numbers_of_blocks_change_no_bit() {
    let expected = bits(backend("sm_80", SMALL), SAME_BITS);
    assert_eq!(
        bits(backend("sm_80", SMALL).in_ranges_of(1), SAME_BITS),
        expected
    );
    assert_eq!(
        bits(backend("sm_80", SMALL).with_blocks(2), SAME_BITS),
        expected
    );
    let random = [("HIMUON_EMULATOR_ORDER", "random:7")];
    let test = "ranges_of_tiles_and_numbers_of_blocks_change_no_bit";
    isolated(test, &random, || {
        // The child compares with a run of its own: order is all that differs between the two processes.
        let digest = |bits: &[u32]| {
            bits.iter()
                .fold(0_u64, |h, b| h.wrapping_mul(31) + u64::from(*b))
        };
        println!(
            "digest {}",
            digest(&bits(backend("sm_80", SMALL), SAME_BITS))
        );
    })
    .map(|isolated| {
        if let himuon_toolkit::emulated::Isolated::Parent { output } = isolated {
            let digest = expected
                .iter()
                .fold(0_u64, |h, b| h.wrapping_mul(31) + u64::from(*b));
            assert!(output.contains(&format!("digest {digest}")), "{output}");
        }
    })
    .unwrap();
}

/// Tensor instructions and passes of shared memory of one tile's step, by entry. In a process of its own, since the
/// counters are the driver's.
#[test]
fn products_have_no_bank_conflicts_and_use_symmetry() {
    isolated(
        "products_have_no_bank_conflicts_and_use_symmetry",
        &[],
        count_products,
    )
    .unwrap();
}

fn count_products() {
    let (edge, steps) = (512_u64, 5_u64);
    let mut backend = backend("sm_80", LARGE);
    let spec = parsed("tile=full operand=bf16");
    let values: Vec<f32> = (0..edge * edge)
        .map(|i| ((i * 37) % 101) as f32 - 50.0)
        .collect();
    let matrix = himuon::tensor::TensorRef::F32(&values);
    backend.device().inspection().unwrap().reset_counters();
    let side = edge as usize;
    let none = himuon::reference::Normalisation::None;
    backend.map(&spec, matrix, side, side, none).unwrap();
    let counters = backend.device().inspection().unwrap().counters();
    let blocks = edge / 128;
    // A block of 128 x 128 over a depth of `edge` is 8 x 16 instructions of 16 x 8 for each 16 of the depth.
    let of_block = 8 * 16 * edge / 16;
    let triangle = blocks * (blocks + 1) / 2;
    for (entry, instructions) in [
        ("himuon_gram", triangle * of_block * steps),
        ("himuon_square", triangle * of_block * steps),
        ("himuon_multiply", blocks * blocks * of_block * steps),
    ] {
        let found = &counters[entry];
        assert_eq!(found.mma.values().sum::<u64>(), instructions, "{entry}");
        assert_eq!(
            found.shared_wavefronts, found.shared_ideal_wavefronts,
            "{entry}"
        );
        // A tensor instruction of 16 x 8 x 16 takes a multiprocessor of compute capability 8.0 two cycles.
        assert!(found.shared_wavefronts < 2 * instructions, "{entry}");
        println!(
            "{entry}: {instructions} tensor instructions, {} wavefronts",
            found.shared_wavefronts
        );
    }
}
