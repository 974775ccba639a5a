//! The file: readable, complete, united.

use himuon::tuning::{
    CandidateRecord, DeviceFingerprint, ShapeClass, TuningEntry, TuningTable, Verdict,
};
use himuon::{KernelSpec, Tile};

pub(crate) fn device() -> DeviceFingerprint {
    DeviceFingerprint {
        kind: "cuda".to_owned(),
        name: "Some GPU".to_owned(),
        architecture: "9.0".to_owned(),
        multiprocessors: 132,
        driver: "575.1".to_owned(),
        toolkit: "12.9".to_owned(),
        features: Vec::new(),
    }
}

pub(crate) fn class() -> ShapeClass {
    ShapeClass::of(Tile::square(16), [(32, 32)])
}

pub(crate) fn record(variant: &str, verdict: Verdict, samples: &[u64]) -> CandidateRecord {
    CandidateRecord {
        digest: "00c0ffee".to_owned(),
        verdict,
        reason: match verdict {
            Verdict::Measured => String::new(),
            _ => "wrong on a zero tile".to_owned(),
        },
        error: Some(2.71e-6),
        relative: 1.125,
        predicted_rank: 3,
        predicted_ns: 12_345,
        cold_ns: samples.to_vec(),
        warm_ns: samples.iter().map(|sample| sample / 2).collect(),
        ..CandidateRecord::chosen(variant)
    }
}

pub(crate) fn entry(winner: &str) -> TuningEntry {
    TuningEntry {
        shapes: vec![(32, 32), (48, 16)],
        threads: 2,
        tuned_at: 1_700_000_000,
        candidates: vec![
            record(winner, Verdict::Measured, &[1000, 1100, 900]),
            record("second", Verdict::Measured, &[1200, 1300]),
            record("broken", Verdict::Wrong, &[]),
        ],
        ..TuningEntry::chosen(winner)
    }
}

pub(crate) fn table(winner: &str) -> TuningTable {
    let mut table = TuningTable::new(device());
    table.insert(&KernelSpec::new(Tile::square(16)), class(), entry(winner));
    table
}

#[test]
fn a_table_is_read_back_to_the_last_digit() {
    let folder = tempfile::tempdir().unwrap();
    assert!(
        TuningTable::load(folder.path(), &device())
            .unwrap()
            .is_none()
    );
    let path = table("first").save(folder.path()).unwrap();
    let read = TuningTable::load(folder.path(), &device())
        .unwrap()
        .unwrap();
    assert_eq!(read, table("first"));
    assert!(read.warnings().is_empty());
    // The same bytes from what was read.
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(read.to_json().unwrap(), text);
    // Lists of samples stay on a line, and the file begins with what it is about.
    assert!(
        text.contains("\"cold_ns\": [1000,1100,900]") || text.contains("[1000, 1100, 900]"),
        "{text}"
    );
    assert!(text.contains("\"name\": \"Some GPU\""));
    assert!(text.contains("\"class\": \"tiles>=4\""));
    for (name, part) in [
        ("driver", "575.1"),
        ("toolkit", "12.9"),
        ("architecture", "9.0"),
    ] {
        assert!(text.contains(&format!("\"{name}\": \"{part}\"")), "{text}");
    }
}

#[test]
fn every_part_of_the_fingerprint_makes_another_file() {
    let folder = std::path::Path::new("cache");
    let mut paths = vec![TuningTable::path_in(folder, &device())];
    let changes: [fn(&mut DeviceFingerprint); 7] = [
        |device| device.kind.push('x'),
        |device| device.name.push('x'),
        |device| device.architecture.push('1'),
        |device| device.multiprocessors += 1,
        |device| device.driver.push('1'),
        |device| device.toolkit.push('1'),
        |device| device.features.push("x".to_owned()),
    ];
    for change in changes {
        let mut other = device();
        change(&mut other);
        paths.push(TuningTable::path_in(folder, &other));
    }
    let count = paths.len();
    paths.sort();
    paths.dedup();
    assert_eq!(paths.len(), count);
}

#[test]
fn what_two_tunings_know_is_united() {
    let folder = tempfile::tempdir().unwrap();
    let spec = KernelSpec::new(Tile::square(16));
    table("first").save(folder.path()).unwrap();
    let mut later = TuningTable::new(device());
    later.insert(
        &spec,
        class(),
        TuningEntry {
            tuned_at: 1_800_000_000,
            candidates: vec![
                record("third", Verdict::Measured, &[500]),
                record("second", Verdict::Wrong, &[]),
                record("broken", Verdict::Measured, &[1, 1, 1]),
                record("first", Verdict::Measured, &[1000]),
            ],
            ..TuningEntry::chosen("third")
        },
    );
    let full = KernelSpec::new(Tile::Full);
    let whole = ShapeClass::of(Tile::Full, [(64, 64)]);
    later.insert(&full, whole, entry("other"));
    later.save(folder.path()).unwrap();
    // An older tuning that comes late changes no winner.
    let mut older = table("old");
    for entry in older.entries.values_mut() {
        entry.tuned_at = 1;
    }
    older.save(folder.path()).unwrap();
    let read = TuningTable::load(folder.path(), &device())
        .unwrap()
        .unwrap();
    assert_eq!(read.entries.len(), 2);
    let entry = read.entry(&spec, class()).unwrap();
    assert_eq!(entry.winner, "third");
    let verdict = |name: &str| entry.candidate(name).unwrap().verdict;
    // Wrong once is wrong.
    assert_eq!(verdict("broken"), Verdict::Wrong);
    assert_eq!(verdict("second"), Verdict::Wrong);
    assert_eq!(entry.candidate("first").unwrap().cold_ns.len(), 3);
    assert_eq!(entry.candidate("old").unwrap().cold_ns.len(), 3);
    assert_eq!(
        read.variant_for(&full, &[(64, 64)]).as_deref(),
        Some("other")
    );
}

#[test]
fn candidates_of_other_source_are_given_up() {
    let mut table = table("first");
    let removed = table.retain_current(|spec, record| {
        assert!(spec.starts_with("tile=16"));
        record.variant == "first"
    });
    assert_eq!(removed, 1);
    let spec = KernelSpec::new(Tile::square(16));
    assert_eq!(table.entry(&spec, class()).unwrap().winner, "second");
    assert_eq!(
        table.retain_current(|_, record| record.variant == "second"),
        1
    );
    // What is left is no choice.
    assert!(table.entries.is_empty());
}
