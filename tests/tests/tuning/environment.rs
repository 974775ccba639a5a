//! The variables of the environment that decide which variant an optimizer uses.

use std::path::Path;
use std::time::Duration;

use himuon::HiMuon;
use himuon::backend::CpuBackend;
use himuon::optimizer::MuonOptions;
use himuon::plan::Prediction;
use himuon::tuning::{DeviceFingerprint, TuningTable};

use super::in_use::{Poisoned, SHAPE, class, spec, table, two_others};

/// The part of the tests below that runs in a process of its own, because the environment belongs to the whole
/// process.
const CHILD: &str = "HIMUON_TEST_EXPECTED_VARIANT";
/// `variant=speedup`: what the model says in the child.
const PREDICTED: &str = "HIMUON_TEST_PREDICTED";

#[test]
fn the_part_of_a_child() {
    let Ok(expected) = std::env::var(CHILD) else {
        return;
    };
    let mut builder = HiMuon::builder()
        .parameter("w", &[SHAPE.0, SHAPE.1])
        .threads(1)
        .group_with("w", MuonOptions::specs([spec()]));
    if let Ok(predicted) = std::env::var(PREDICTED) {
        let (variant, speedup) = predicted.split_once('=').unwrap();
        let prediction = Prediction {
            variant: variant.to_owned(),
            speedup: speedup.parse().unwrap(),
        };
        builder = builder.backend(Box::new(Poisoned {
            cpu: CpuBackend::new(Some(1)).unwrap(),
            poison: Vec::new(),
            predictions: vec![prediction],
        }));
    }
    let built = builder.build().unwrap();
    let launch = &built.plan(0).unwrap().launches[0];
    if expected != "any" {
        assert_eq!(launch.variant.clone().unwrap_or_default(), expected);
    }
    println!("{}", launch.reasons[0]);
}

/// Builds an optimizer in a child process and returns why it uses the variant that it uses.
fn in_child(folder: &Path, expected: &str, environment: &[(&str, &str)]) -> String {
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "environment::the_part_of_a_child", "--nocapture"])
        .env(CHILD, expected)
        .env("HIMUON_CACHE_DIR", folder)
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "expected {expected:?}: {text}");
    text
}

#[test]
fn the_cache_folder_is_read_and_a_bad_table_in_it_stops_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let why = in_child(folder.path(), "", &[]);
    assert!(why.contains("himuon tune --spec 'tile=16"), "{why}");
    let [name, _] = two_others();
    let path = table(&[&name]).save(folder.path()).unwrap();
    in_child(folder.path(), &name, &[]);
    let why = in_child(folder.path(), "", &[("HIMUON_DETERMINISTIC", "1")]);
    assert!(why.contains("HIMUON_DETERMINISTIC"), "{why}");
    std::fs::write(path, "{\"schema\": 2").unwrap();
    in_child(folder.path(), "", &[]);
}

#[test]
fn rank_0_tunes_and_the_others_read() {
    let folder = tempfile::tempdir().unwrap();
    let spawn = |rank: &'static str| {
        let folder = folder.path().to_owned();
        std::thread::spawn(move || {
            let environment = [("HIMUON_AUTOTUNE", "measure"), ("RANK", rank)];
            in_child(&folder, "any", &environment)
        })
    };
    // The reader comes first, and waits.
    let other = spawn("1");
    std::thread::sleep(Duration::from_millis(200));
    let first = spawn("0");
    let (first, other) = (first.join().unwrap(), other.join().unwrap());
    let reason = |text: &str| {
        let line = text
            .lines()
            .find(|line| line.starts_with("variant "))
            .unwrap();
        line.to_owned()
    };
    assert_eq!(reason(&first), reason(&other));
    let table = TuningTable::load(folder.path(), &DeviceFingerprint::cpu())
        .unwrap()
        .unwrap();
    assert!(reason(&first).contains(&table.entry(&spec(), class()).unwrap().winner));
}

/// What rank 0 found would not reach the others, and one rank alone must not run other kernels than they.
#[test]
fn ranks_that_cannot_share_a_table_all_run_the_default() {
    let folder = tempfile::tempdir().unwrap();
    let read_only = ("HIMUON_CACHE_READONLY", "1");
    for rank in ["0", "1"] {
        let environment = [("HIMUON_AUTOTUNE", "measure"), read_only, ("RANK", rank)];
        in_child(folder.path(), "", &environment);
    }
    // Alone it tunes for itself.
    let alone = [("RANK", "0"), ("WORLD_SIZE", "1")];
    let environment = [
        ("HIMUON_AUTOTUNE", "measure"),
        read_only,
        alone[0],
        alone[1],
    ];
    let why = in_child(folder.path(), "any", &environment);
    assert!(why.contains("from the tuning table"), "{why}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// A folder that cannot be written, and nobody has said so.
#[test]
fn what_cannot_be_kept_is_tuned_and_used() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("no-folder");
    std::fs::write(&file, "").unwrap();
    let why = in_child(&file, "any", &[("HIMUON_AUTOTUNE", "measure")]);
    assert!(why.contains("from the tuning table"), "{why}");
}

#[test]
fn without_a_table_the_model_chooses_by_its_lead_unless_estimates_are_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let [name, other] = two_others();
    let (small, large) = (format!("{name}=1.1"), format!("{name}=1.3"));
    let chosen = |expected: &str, prediction: &str, more: &[(&str, &str)]| {
        let mut environment = vec![(PREDICTED, prediction)];
        environment.extend(more);
        in_child(folder.path(), expected, &environment)
    };
    let estimate = ("HIMUON_AUTOTUNE", "estimate");
    chosen("", &small, &[]);
    let why = chosen(&name, &large, &[]);
    assert!(why.contains("1.30"), "{why}");
    let why = chosen(&name, &small, &[estimate]);
    assert!(why.contains("1.10"), "{why}");
    chosen("", &large, &[("HIMUON_DETERMINISTIC", "1")]);
    chosen("", &small, &[estimate, ("HIMUON_DETERMINISTIC", "1")]);
    // Nothing was measured, and nothing is kept as if it had been.
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    // What was measured goes before what a model says.
    table(&[&other]).save(folder.path()).unwrap();
    chosen(&other, &large, &[]);
    chosen(&other, &large, &[estimate]);
}
