//! Candidates that are no fault of theirs, that are not the same twice, and that take the device along.

use std::path::Path;

use himuon::tuning::{
    TuneJob, TuneOptions, Tuned, Tuner, TuningEntry, TuningError, TuningTable, TuningTarget,
    Verdict,
};
use himuon::{KernelSpec, Tile};

use crate::fake::{Fake, Fault, Made};

fn job() -> TuneJob {
    TuneJob {
        spec: KernelSpec::new(Tile::square(8)),
        shapes: vec![(16, 16)],
    }
}

fn made(name: &'static str, fault: Fault) -> Made {
    Made {
        fault,
        ..Made::right(name, 10)
    }
}

/// A process of its own: nothing of an earlier one is left but the folder.
fn process(odd: &[Made], folder: &Path) -> Result<Tuned, TuningError> {
    let mut all = vec![Made::right("default", 1000), Made::right("right", 500)];
    all.extend_from_slice(odd);
    let mut fake = Fake::new(all);
    Tuner::new(&mut fake, TuneOptions::default()).tune(&[job()], Some(folder), &mut |_| {})
}

fn entry(table: &TuningTable) -> &TuningEntry {
    table.entry(&job().spec, job().class()).unwrap()
}

fn kept(folder: &Path) -> TuningTable {
    let device = Fake::new(Vec::new()).fingerprint();
    TuningTable::load(folder, &device).unwrap().unwrap()
}

#[test]
fn a_candidate_that_destroys_the_device_is_the_only_one_to_go() {
    for fault in [Fault::Destroys, Fault::DestroysLater] {
        let folder = tempfile::tempdir().unwrap();
        let odd = [made("destroyer", fault), Made::right("after", 400)];
        let lost = process(&odd, folder.path()).unwrap_err();
        assert!(
            matches!(&lost, TuningError::Lost { variant, reason, .. }
                if variant == "destroyer" && reason == "an illegal address"),
            "{lost}"
        );
        // Nobody else is accused, and what holds exclusions alone chooses nothing.
        let table = kept(folder.path());
        let accused: Vec<_> = entry(&table)
            .candidates
            .iter()
            .map(|record| (record.variant.as_str(), record.verdict))
            .collect();
        assert_eq!(accused, [("destroyer", Verdict::Failed)]);
        assert!(!table.knows(&job().spec));
        assert!(table.choices(&job().spec, job().class()).is_empty());
        // The next process goes on without it.
        let tuned = process(&odd, folder.path()).unwrap();
        let found = entry(&tuned.table);
        assert_eq!(found.winner, "after");
        let destroyer = found.candidate("destroyer").unwrap();
        assert_eq!(destroyer.verdict, Verdict::Failed);
        assert!(kept(folder.path()).knows(&job().spec));
    }
}

#[test]
fn what_was_known_before_the_device_was_lost_stays() {
    let folder = tempfile::tempdir().unwrap();
    process(&[], folder.path()).unwrap();
    process(&[made("destroyer", Fault::Destroys)], folder.path()).unwrap_err();
    let table = kept(folder.path());
    assert_eq!(entry(&table).winner, "right");
    assert_eq!(entry(&table).candidates.len(), 3);
}

#[test]
fn a_candidate_without_room_is_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let tuned = process(&[made("large", Fault::TooLarge)], folder.path()).unwrap();
    assert_eq!(entry(&tuned.table).winner, "right");
    assert!(entry(&tuned.table).candidate("large").is_none());
    // With room it is the fastest.
    let tuned = process(&[Made::right("large", 10)], folder.path()).unwrap();
    assert_eq!(entry(&tuned.table).candidates.len(), 3);
    assert_eq!(entry(&tuned.table).winner, "large");
}

#[test]
fn a_step_gives_the_same_bits_every_time() {
    let folder = tempfile::tempdir().unwrap();
    let tuned = process(&[made("wavers", Fault::Wavers)], folder.path()).unwrap();
    let record = entry(&tuned.table).candidate("wavers").unwrap();
    assert_eq!(record.verdict, Verdict::Wrong);
    assert!(record.reason.contains("other bits"), "{record:?}");
}
