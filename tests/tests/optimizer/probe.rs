//! The probe of an optimizer: what it reads, that it changes nothing, and what it does about drift.

use std::sync::{Arc, Mutex};

use himuon::optimizer::{DriftPolicy, MuonOptions, ProbeOptions, ProbeReading};
use himuon::reference::{Matrix, Normalisation, ReferenceMap, nuclear_rank};
use himuon::{HiMuon, KernelSpec, Tile};
use himuon_tests::svd::cosine;

use crate::model::{Model, Normal};

const SHAPE: (usize, usize) = (48, 64);
const RANK: usize = 12;

fn model() -> Model {
    Model::new(&[
        ("noise", &[48, 64]),
        ("drifting", &[48, 64]),
        ("bias", &[5]),
    ])
}

/// Noise for the first parameter. For the second what tiles of 8 cannot see: a matrix of rank 12, which fills each of
/// them, over little noise, which makes up the rest of the whole matrix's map.
fn gradients(model: &Model, step: u64) -> Vec<Vec<f32>> {
    let mut gradients = model.gradients(step);
    let mut normal = Normal::new(50);
    let (left, right) = (normal.vector(RANK * SHAPE.0), normal.vector(RANK * SHAPE.1));
    for (place, value) in gradients[1].iter_mut().enumerate() {
        let (row, column) = (place / SHAPE.1, place % SHAPE.1);
        let low: f32 = (0..RANK)
            .map(|k| left[RANK * row + k] * right[RANK * column + k])
            .sum();
        *value = low + 0.1 * *value;
    }
    gradients
}

fn optimizer(
    model: &Model,
    probe: Option<ProbeOptions>,
) -> (HiMuon, Arc<Mutex<Vec<ProbeReading>>>) {
    let readings = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&readings);
    let tiles = [Tile::square(8), Tile::Full, Tile::square(16)];
    let mut builder = model
        .builder()
        .group_with("*", MuonOptions::specs(tiles.map(KernelSpec::new)));
    if let Some(probe) = probe {
        let keep = move |reading: &ProbeReading| kept.lock().unwrap().push(reading.clone());
        builder = builder.probe(probe.callback(keep));
    }
    (builder.build().unwrap(), readings)
}

fn run(model: &mut Model, optimizer: &mut HiMuon, steps: u64) {
    for _ in 0..steps {
        let gradients = gradients(model, optimizer.steps_taken());
        model.step_with(optimizer, &gradients).unwrap();
    }
}

#[test]
fn readings_are_of_the_momentum_that_the_step_maps() {
    let mut model = model();
    let options = ProbeOptions::every(3).tiles(1000).whole_every(1);
    let (mut optimizer, readings) = optimizer(&model, Some(options));
    let first = gradients(&model, 0);
    run(&mut model, &mut optimizer, 7);
    let readings = readings.lock().unwrap();
    let steps: Vec<_> = readings
        .iter()
        .map(|r| (r.step, r.parameter.as_str()))
        .collect();
    // Both every third step, and in between the one whose turn it is to be compared with its whole map.
    let (noise, drifting) = ("noise", "drifting");
    assert_eq!(
        steps,
        [
            (0, noise),
            (0, drifting),
            (1, drifting),
            (2, noise),
            (3, noise),
            (3, drifting),
            (4, noise),
            (5, drifting),
            (6, noise),
            (6, drifting)
        ]
    );
    // The first Nesterov momentum is 1.95 g.
    let momentum = Matrix::from_f32(SHAPE.0, SHAPE.1, &first[0]).scaled(1.0 + f64::from(0.95f32));
    let map = ReferenceMap::new(&KernelSpec::new(Tile::square(8))).unwrap();
    let mapped = map.matrix(&momentum);
    let count = mapped.tiles.len() as f64;
    let mut expected = (0.0, 0.0);
    for (bounds, tile) in &mapped.tiles {
        let squared = tile.values.norm_squared();
        expected.0 += nuclear_rank(&momentum.cut(bounds), &tile.values) * 8.0 / squared / count;
        expected.1 += (1.0 - squared / 8.0).abs() / count;
    }
    let reading = &readings[0];
    assert_eq!(
        (reading.tiles, reading.tile.as_str(), reading.matrix),
        (48, "8", 0)
    );
    assert!(
        (reading.nuclear_rank / expected.0 - 1.0).abs() < 1e-4,
        "{reading:?} {expected:?}"
    );
    assert!(
        (reading.defect.unwrap() - expected.1).abs() < 1e-4,
        "{reading:?} {expected:?}"
    );
    let whole = ReferenceMap::new(&KernelSpec::new(Tile::Full)).unwrap();
    let scaled = |map: &ReferenceMap| map.apply(&momentum, Normalisation::Tile { factor: 0.2 });
    let expected = cosine(&scaled(&map), &scaled(&whole));
    assert!(
        (reading.whole_cosine.unwrap() - expected).abs() < 1e-4,
        "{reading:?} {expected}"
    );
    assert_eq!(readings[1].whole_cosine, None);
}

#[test]
fn probing_changes_no_bit() {
    let start = model();
    let (mut probed, mut quiet) = (start.clone(), start.clone());
    run(
        &mut probed,
        &mut optimizer(&start, Some(ProbeOptions::every(1).whole_every(2))).0,
        4,
    );
    run(&mut quiet, &mut optimizer(&start, None).0, 4);
    assert_eq!(probed.bits(), quiet.bits());
}

#[test]
fn a_layer_that_drifts_is_named_once() {
    let mut model = model();
    let options = ProbeOptions::every(1).whole_every(1).threshold(0.5);
    let (mut optimizer, readings) = optimizer(&model, Some(options));
    let before = optimizer.warnings().len();
    run(&mut model, &mut optimizer, 8);
    let warnings = &optimizer.warnings()[before..];
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    for part in [
        "drifting: at step 1",
        "tile 8",
        "below 0.5",
        "declares tile 16",
    ] {
        assert!(warnings[0].contains(part), "{part}: {warnings:?}");
    }
    assert!(
        readings
            .lock()
            .unwrap()
            .iter()
            .all(|reading| reading.raised_to.is_none() && reading.tile == "8")
    );
}

#[test]
fn the_policy_raises_the_tile_of_that_layer_and_a_resumed_run_keeps_it() {
    let start = model();
    let raising = || {
        ProbeOptions::every(1)
            .whole_every(1)
            .threshold(0.5)
            .on_drift(DriftPolicy::RaiseTile)
    };
    let mut whole = start.clone();
    let (mut first, readings) = optimizer(&start, Some(raising()));
    run(&mut whole, &mut first, 4);
    let tiles = |name: &str| -> Vec<String> {
        let readings = readings.lock().unwrap();
        readings
            .iter()
            .filter(|r| r.parameter == name)
            .map(|r| r.tile.clone())
            .collect()
    };
    assert_eq!(tiles("noise"), ["8", "8", "8", "8"]);
    // Raised after step 1 to the next larger of the declared tiles, which are not in order.
    assert_eq!(tiles("drifting")[..3], ["8", "8", "16"]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.safetensors");
    first.save_state(&path).unwrap();
    let mut resumed_model = whole.clone();
    run(&mut whole, &mut first, 3);

    let (mut resumed, _) = optimizer(&start, Some(raising()));
    let report = resumed.load_state(&path).unwrap();
    assert!(report.differences.is_empty(), "{:?}", report.differences);
    run(&mut resumed_model, &mut resumed, 3);
    assert_eq!(resumed_model.bits(), whole.bits());
    // Without a probe too: the tile belongs to the state.
    let (mut without, _) = optimizer(&start, None);
    without.load_state(&path).unwrap();
    let lines = without.explain().unwrap().parameters;
    assert!(
        lines[1].spec.contains("tile=16") || lines[1].spec.contains("tile=full"),
        "{}",
        lines[1].spec
    );
    assert!(lines[0].spec.contains("tile=8"), "{}", lines[0].spec);
}

#[test]
fn a_tile_that_the_budget_has_no_room_for_is_not_raised_to() {
    let mut model = Model::new(&[("w", &[192, 256])]);
    let readings = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&readings);
    let probe = ProbeOptions::every(1)
        .whole_every(1)
        .threshold(0.99)
        .on_drift(DriftPolicy::RaiseTile)
        .callback(move |reading: &ProbeReading| kept.lock().unwrap().push(reading.clone()));
    let specs = |tiles: &[Tile]| MuonOptions::specs(tiles.iter().copied().map(KernelSpec::new));
    let building = |tiles: &[Tile], budget| {
        let builder = model.builder().group_with("*", specs(tiles)).threads(1);
        builder.memory_budget(budget)
    };
    // The least that tiles of 8 can do with.
    let budget = (1..).map(|pages| pages << 8);
    let budget = budget
        .clone()
        .find(|b| building(&[Tile::square(8)], *b).build().is_ok());
    let budget = budget.unwrap();
    assert!(building(&[Tile::Full], budget).build().is_err());
    let tiles = [Tile::square(8), Tile::Full];
    let mut optimizer = building(&tiles, budget).probe(probe).build().unwrap();
    for _ in 0..3 {
        model.step(&mut optimizer);
    }
    let readings = readings.lock().unwrap();
    assert!(readings.iter().all(|reading| reading.raised_to.is_none()));
    let warnings = optimizer.warnings().join("; ");
    assert!(warnings.contains("it cannot get tile full"), "{warnings}");
}

#[test]
fn periods_and_thresholds_are_checked() {
    let model = model();
    for (options, says) in [
        (ProbeOptions::every(0), "period"),
        (ProbeOptions::every(1).tiles(0), "tiles"),
        (ProbeOptions::every(1).threshold(f64::NAN), "threshold"),
    ] {
        let built = model
            .builder()
            .group_with("*", MuonOptions::specs([KernelSpec::new(Tile::square(8))]));
        let error = built.probe(options).build().unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}

/// The whole matrix is one tile, which has no coarse part.
#[test]
fn tiles_with_a_coarse_part_are_compared_with_the_whole_map() {
    let mut model = model();
    let (readings, keep) = {
        let readings = Arc::new(Mutex::new(Vec::new()));
        (Arc::clone(&readings), readings)
    };
    let spec: KernelSpec = "tile=8 coarse=4 fine=projected".parse().unwrap();
    let probe = ProbeOptions::every(1).whole_every(1);
    let builder = model.builder().group_with("*", MuonOptions::specs([spec]));
    let builder = builder.probe(probe.callback(move |r| keep.lock().unwrap().push(r.clone())));
    run(&mut model, &mut builder.build().unwrap(), 2);
    let cosines: Vec<_> = readings
        .lock()
        .unwrap()
        .iter()
        .filter_map(|reading: &ProbeReading| reading.whole_cosine)
        .collect();
    assert_eq!(cosines.len(), 2);
    // Measured: 0.77 and 0.41, from a basis that begins anew at every reading.
    assert!(cosines.iter().all(|cosine| *cosine > 0.3), "{cosines:?}");
}
