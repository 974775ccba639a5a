//! Who wins, who may not run, and what is measured again.

use crate::fake::{Fake, Fault, Made};
use himuon::tuning::{
    Clock, Level, ShapeClass, TuneJob, TuneOptions, TuneOutcome, Tuned, Tuner, TuningEntry,
    TuningError, TuningTable, TuningTarget, Verdict,
};
use himuon::{KernelSpec, Tile};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

fn job(edge: u32) -> TuneJob {
    TuneJob {
        spec: KernelSpec::new(Tile::square(edge)),
        shapes: vec![(16, 16)],
    }
}

fn options() -> TuneOptions {
    TuneOptions {
        budget: Duration::from_secs(60),
        ..TuneOptions::default()
    }
}

fn tune(fake: &mut Fake, options: TuneOptions, folder: Option<&Path>) -> Tuned {
    Tuner::new(fake, options)
        .tune(&[job(8)], folder, &mut |_| {})
        .unwrap()
}

fn entry(tuned: &Tuned) -> &TuningEntry {
    tuned.table.entry(&job(8).spec, job(8).class()).unwrap()
}

#[test]
fn a_candidate_must_be_faster_for_sure() {
    for (time, winner) in [(990, "default"), (900, "other")] {
        let made = vec![Made::right("default", 1000), Made::right("other", time)];
        let tuned = tune(&mut Fake::new(made), options(), None);
        assert_eq!(entry(&tuned).winner, winner, "{time}");
    }
    // Two rounds tell nothing for sure.
    let made = vec![Made::right("default", 1000), Made::right("other", 900)];
    let short = TuneOptions {
        budget: Duration::ZERO,
        ..options()
    };
    let tuned = tune(&mut Fake::new(made), short, None);
    assert_eq!(entry(&tuned).winner, "default");
    assert_eq!(entry(&tuned).candidates[0].cold_ns.len(), 2);
}

#[test]
fn disturbances_do_not_decide() {
    for seed in 0..20 {
        // A tenth faster; runs are disturbed by up to ten times their own time.
        let mut made = vec![Made::right("default", 100_000 + seed)];
        for (name, time) in [("a", 110_000), ("b", 90_000), ("c", 103_000), ("d", 98_500)] {
            made.push(Made::right(name, time));
        }
        let mut fake = Fake::new(made);
        fake.noise = 10.0;
        let tuned = tune(&mut fake, options(), None);
        assert_eq!(entry(&tuned).winner, "b", "{seed}");
        // Who is surely slower stops early.
        assert!(fake.runs_of("a") < fake.runs_of("b"), "{:?}", fake.runs);
    }
}

#[test]
fn wrong_and_failing_candidates_are_reported_and_excluded_for_good() {
    let folder = tempfile::tempdir().unwrap();
    let made = |name, fault| Made {
        fault,
        ..Made::right(name, 10)
    };
    let mut fake = Fake::new(vec![
        Made::right("default", 1000),
        made("inexact", Fault::Inexact),
        made("forgets", Fault::Forgets),
        made("map-only", Fault::MapOnly),
        made("absent", Fault::Absent),
        made("breaks", Fault::Breaks),
    ]);
    let tuned = tune(&mut fake, options(), Some(folder.path()));
    let found = entry(&tuned);
    assert_eq!(found.winner, "default");
    for (name, verdict, reason) in [
        (
            "inexact",
            Verdict::Wrong,
            "map of a Gaussian tile: relative error",
        ),
        (
            "forgets",
            Verdict::Wrong,
            "map of a Gaussian tile: relative error NaN",
        ),
        (
            "map-only",
            Verdict::Wrong,
            "weight after a step: relative error 1.0e0",
        ),
        ("absent", Verdict::Failed, "no such kernel image"),
        ("breaks", Verdict::Failed, "an illegal address"),
    ] {
        let record = found.candidate(name).unwrap();
        assert_eq!(record.verdict, verdict, "{record:?}");
        assert!(record.reason.contains(reason), "{record:?}");
        assert_eq!(fake.runs_of(name), usize::from(name == "breaks"));
        assert!(found.ranked().all(|usable| usable.variant != name));
    }
    // Neither time nor a request brings them back.
    fake.runs.clear();
    let again = TuneOptions {
        again: true,
        ..options()
    };
    let tuned = tune(&mut fake, again, Some(folder.path()));
    assert!(
        fake.runs.keys().all(|name| name == "default"),
        "{:?}",
        fake.runs
    );
    assert_eq!(
        entry(&tuned).candidate("inexact").unwrap().verdict,
        Verdict::Wrong
    );
    // Other source is another candidate.
    fake.made[1] = Made {
        digest: "2",
        ..Made::right("inexact", 10)
    };
    let tuned = tune(&mut fake, options(), Some(folder.path()));
    assert_eq!(entry(&tuned).winner, "inexact");
}

#[test]
fn a_specification_without_a_right_candidate_is_an_error() {
    let mut fake = Fake::new(vec![Made {
        fault: Fault::Inexact,
        ..Made::right("only", 10)
    }]);
    let error = Tuner::new(&mut fake, options())
        .tune(&[job(8)], None, &mut |_| {})
        .unwrap_err();
    assert!(matches!(error, TuningError::NoCandidate { .. }), "{error}");
}

#[test]
fn only_what_changed_is_measured_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut fake = Fake::new(vec![
        Made::right("default", 1000),
        Made::right("fast", 800),
        Made::right("slow", 1200),
        Made::right("slower", 1300),
    ]);
    let first = tune(&mut fake, options(), Some(folder.path()));
    assert_eq!(first.outcomes, [TuneOutcome::Measured]);
    fake.runs.clear();
    let second = tune(&mut fake, options(), Some(folder.path()));
    assert_eq!(second.outcomes, [TuneOutcome::Known]);
    assert!(fake.runs.is_empty());
    assert_eq!(entry(&second), entry(&first));
    // One template changes: it runs against the winner and the default, and nobody else does.
    fake.made[2] = Made {
        digest: "2",
        ..Made::right("slow", 400)
    };
    let third = tune(&mut fake, options(), Some(folder.path()));
    assert_eq!(third.outcomes, [TuneOutcome::Measured]);
    assert_eq!(entry(&third).winner, "slow");
    assert_eq!(fake.runs_of("slower"), 0);
    assert!(fake.runs_of("fast") > 0 && fake.runs_of("default") > 0);
    // The times of that day are kept in proportion: 1300 / 400.
    let order: Vec<_> = entry(&third)
        .ranked()
        .map(|record| (record.variant.as_str(), record.relative))
        .collect();
    let expected = [
        ("slow", 1.0),
        ("fast", 2.0),
        ("default", 2.5),
        ("slower", 3.25),
    ];
    assert_eq!(order, expected);
    // More patience measures everybody for longer.
    fake.runs.clear();
    let patient = TuneOptions {
        level: Level::Patient,
        ..options()
    };
    tune(&mut fake, patient, Some(folder.path()));
    assert_eq!(fake.runs.len(), 4);
}

#[test]
fn a_default_that_has_won_is_still_whom_the_others_must_beat() {
    let folder = tempfile::tempdir().unwrap();
    let mut fake = Fake::new(vec![
        Made::right("default", 1000),
        Made::right("close", 1001),
        Made::right("slow", 1300),
    ]);
    let hasty = |candidates| TuneOptions {
        budget: Duration::ZERO,
        candidates,
        ..options()
    };
    let first = tune(&mut fake, hasty(Some(2)), Some(folder.path()));
    assert_eq!(entry(&first).winner, "default");
    // Two rounds tell nothing for sure: nobody may take its place.
    let second = tune(&mut fake, hasty(None), Some(folder.path()));
    assert_eq!(second.outcomes, [TuneOutcome::Measured]);
    assert_eq!(entry(&second).winner, "default");
}

/// As on a busy machine, whose probe ranks candidates otherwise from run to run.
#[test]
fn another_ranking_alone_is_no_reason_to_measure() {
    let folder = tempfile::tempdir().unwrap();
    let of =
        |names: [&'static str; 4]| Fake::new(names.map(|name| Made::right(name, 1000)).to_vec());
    let two = TuneOptions {
        candidates: Some(2),
        ..options()
    };
    let three = TuneOptions {
        candidates: Some(3),
        ..options()
    };
    for (names, options, outcome) in [
        (["default", "a", "b", "c"], two, TuneOutcome::Measured),
        (["default", "b", "a", "c"], two, TuneOutcome::Known),
        (["default", "b", "c", "a"], three, TuneOutcome::Measured),
        (["default", "c", "a", "b"], three, TuneOutcome::Known),
    ] {
        let tuned = tune(&mut of(names), options, Some(folder.path()));
        assert_eq!(tuned.outcomes, [outcome], "{names:?}");
    }
    // More are known than are asked for; what has changed is measured all the same, as is another default.
    let mut changed = of(["default", "a", "b", "c"]);
    changed.made[1].digest = "2";
    let renamed = of(["new", "default", "a", "b"]);
    for (mut fake, measured) in [(changed, "a"), (renamed, "new")] {
        let tuned = tune(&mut fake, two, Some(folder.path()));
        assert_eq!(tuned.outcomes, [TuneOutcome::Measured], "{measured}");
        assert!(fake.runs_of(measured) > 0, "{measured}");
    }
}

#[test]
fn what_is_measured_again_replaces_what_was_known() {
    let folder = tempfile::tempdir().unwrap();
    let kept = |fake: &Fake| {
        let table = TuningTable::load(folder.path(), &fake.fingerprint()).unwrap();
        let table = table.unwrap();
        table.entry(&job(8).spec, job(8).class()).unwrap().clone()
    };
    let mut fake = Fake::new(vec![Made::right("default", 1000), Made::right("fast", 800)]);
    tune(&mut fake, options(), Some(folder.path()));
    assert!(kept(&fake).candidates[0].cold_ns.len() >= 6);
    fake.made[0].time = 500;
    fake.made[1].time = 400;
    let again = TuneOptions {
        again: true,
        budget: Duration::ZERO,
        ..options()
    };
    tune(&mut fake, again, Some(folder.path()));
    let found = kept(&fake);
    assert_eq!(found.candidate("fast").unwrap().cold_ns, [400, 400]);
    assert_eq!(found.candidate("default").unwrap().relative, 1.25);
}

#[test]
fn times_of_another_number_of_threads_are_not_known() {
    let folder = tempfile::tempdir().unwrap();
    let made = |name, fault| Made {
        fault,
        ..Made::right(name, 10)
    };
    let mut fake = Fake::new(vec![
        Made::right("default", 1000),
        Made::right("fast", 800),
        made("absent", Fault::Absent),
    ]);
    tune(&mut fake, options(), Some(folder.path()));
    fake.runs.clear();
    fake.threads = 2;
    // On two threads another one wins.
    fake.made[1].time = 1500;
    let tuned = tune(&mut fake, options(), Some(folder.path()));
    assert_eq!(tuned.outcomes, [TuneOutcome::Measured]);
    assert_eq!(
        (entry(&tuned).winner.as_str(), entry(&tuned).threads),
        ("default", 2)
    );
    // What does not load is not tried again, and what is measured is known from now on.
    assert_eq!(fake.runs.len(), 2);
    assert_eq!(
        entry(&tuned).candidate("absent").unwrap().verdict,
        Verdict::Failed
    );
    let tuned = tune(&mut fake, options(), Some(folder.path()));
    assert_eq!(tuned.outcomes, [TuneOutcome::Known]);
}

#[test]
fn a_stopped_tuner_keeps_what_is_done_and_goes_on_from_there() {
    let folder = tempfile::tempdir().unwrap();
    let jobs = [job(4), job(8), job(16)];
    let made = || vec![Made::right("default", 1000), Made::right("fast", 800)];
    let stop = Arc::new(AtomicBool::new(false));
    let mut fake = Fake::new(made());
    // In the middle of the second job: one job needs six rounds and more.
    fake.stop_at = Some((34, Arc::clone(&stop)));
    let tuned = Tuner::new(&mut fake, options())
        .stop_at(&stop)
        .tune(&jobs, Some(folder.path()), &mut |_| {})
        .unwrap();
    let [first, second, third] = tuned.outcomes[..] else {
        panic!("{:?}", tuned.outcomes);
    };
    assert_eq!(
        (first, second, third),
        (
            TuneOutcome::Measured,
            TuneOutcome::Stopped,
            TuneOutcome::Stopped
        ),
        "{:?}",
        fake.runs
    );
    let mut fake = Fake::new(made());
    let mut fractions = Vec::new();
    let tuned = Tuner::new(&mut fake, options())
        .tune(&jobs, Some(folder.path()), &mut |progress| {
            fractions.push(progress.fraction);
        })
        .unwrap();
    let expected = [
        TuneOutcome::Known,
        TuneOutcome::Measured,
        TuneOutcome::Measured,
    ];
    assert_eq!(tuned.outcomes, expected);
    assert!(fractions.is_sorted() && fractions.iter().all(|f| (0.0..=1.0).contains(f)));
}

#[test]
fn times_of_an_emulated_device_are_kept_apart_and_choose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut fake = Fake::new(vec![Made::right("default", 1000), Made::right("fast", 500)]);
    fake.clock = Clock::Emulated;
    let tuned = tune(&mut fake, options(), Some(folder.path()));
    assert_eq!(entry(&tuned).winner, "fast");
    assert_eq!(entry(&tuned).clock, Clock::Emulated);
    let path = tuned.table.path(folder.path());
    assert!(path.to_str().unwrap().ends_with(".emulated.json"));
    let device = fake.fingerprint();
    assert!(TuningTable::load(folder.path(), &device).unwrap().is_none());
    assert!(tuned.table.choices(&job(8).spec, job(8).class()).is_empty());
    // Nor does such a file under the name of a real one.
    let real = TuningTable::path_in(folder.path(), &device);
    std::fs::copy(&path, &real).unwrap();
    let error = TuningTable::load(folder.path(), &device).unwrap_err();
    assert!(error.to_string().contains("emulated"), "{error}");
    // What is known of it is known the next time.
    let tuned = tune(&mut fake, options(), Some(folder.path()));
    assert_eq!(tuned.outcomes, [TuneOutcome::Known]);
}

#[test]
fn the_nearest_class_is_offered() {
    let spec = KernelSpec::new(Tile::square(8));
    let class = |edge| ShapeClass::of(spec.tile, [(edge, edge)]);
    let mut table = TuningTable::new(Fake::new(Vec::new()).fingerprint());
    table.insert(&spec, class(16), TuningEntry::chosen("few"));
    table.insert(&spec, class(1024), TuningEntry::chosen("many"));
    let offered = |edge| table.choices(&spec, class(edge))[0].clone();
    assert_eq!(offered(16).variant, "few");
    assert_eq!(offered(8).variant, "few");
    assert_eq!(offered(4096).variant, "many");
    assert!(offered(4096).reason.contains(&class(1024).to_string()));
    assert_eq!(
        table.variant_for(&spec, &[(700, 700)]).as_deref(),
        Some("many")
    );
}
