//! `himuon cache`: moved between machines, compared, cleaned.

use crate::common::{Folder, Run, himuon_with_cache};
use himuon::tuning::{
    CandidateRecord, DeviceFingerprint, ShapeClass, TuningEntry, TuningTable, Verdict,
    cpu_digest_of,
};
use himuon::{KernelSpec, Tile};
use std::path::Path;

fn winner() -> String {
    let spec = KernelSpec::new(Tile::square(8));
    himuon::cpu::CpuKernel::variants(&spec)[0].name()
}

/// A table of `device` with an entry for a tile.
fn table(device: DeviceFingerprint, edge: u32, digest: &str, tuned_at: u64) -> TuningTable {
    let spec = KernelSpec::new(Tile::square(edge));
    let class = ShapeClass::of(spec.tile, [(64, 64)]);
    let mut table = TuningTable::new(device);
    let record = CandidateRecord {
        digest: digest.to_owned(),
        cold_ns: vec![1000, 2000, 3000],
        ..CandidateRecord::chosen(winner())
    };
    let entry = TuningEntry {
        tuned_at,
        candidates: vec![record],
        ..TuningEntry::chosen(winner())
    };
    table.insert(&spec, class, entry);
    table
}

fn gpu() -> DeviceFingerprint {
    DeviceFingerprint {
        kind: "cuda".to_owned(),
        name: "Elsewhere".to_owned(),
        ..DeviceFingerprint::default()
    }
}

fn ok(cache: &Path, arguments: &[&str]) -> Run {
    let run = himuon_with_cache(cache, arguments);
    assert_eq!(run.code, 0, "{arguments:?}: {}", run.err);
    run
}

#[test]
fn tables_travel_by_export_merge_and_import() {
    let folder = Folder::new();
    let (here, there) = (folder.path("here"), folder.path("there"));
    let digest = cpu_digest_of(&winner()).unwrap();
    table(DeviceFingerprint::cpu(), 8, &digest, 10)
        .save(&here)
        .unwrap();
    table(gpu(), 16, "1", 10).save(&here).unwrap();
    table(DeviceFingerprint::cpu(), 32, &digest, 20)
        .save(&there)
        .unwrap();
    let file = |name: &str| folder.path(name).to_str().unwrap().to_owned();
    let (a, b, both) = (file("a.json"), file("b.json"), file("both.json"));
    ok(&here, &["cache", "export", &a]);
    ok(&there, &["cache", "export", &b]);
    let merged = ok(&here, &["cache", "merge", &a, &b, "--out", &both, "--json"]);
    assert_eq!(merged.json()["entries"], 3);
    assert_eq!(merged.json()["devices"], 2);
    let differences = ok(&here, &["cache", "diff", &a, &both, "--json"]).json();
    let differences = differences["differences"].as_array().unwrap();
    assert_eq!(differences.len(), 1);
    assert_eq!(differences[0]["difference"], "only in the second");
    ok(&there, &["cache", "import", &both]);
    assert!(
        ok(&there, &["cache", "diff", &both])
            .out
            .contains("no difference")
    );
    let listed = ok(&there, &["cache", "ls"]).out;
    assert_eq!(listed.matches(&winner()).count(), 3, "{listed}");
    assert!(listed.contains("cuda Elsewhere"), "{listed}");
    // A table by itself is a file of tables too.
    let single = TuningTable::path_in(&here, &gpu());
    ok(&there, &["cache", "import", single.to_str().unwrap()]);
    let bad = folder.path("bad.json");
    std::fs::write(&bad, "{\"tables\": 3}").unwrap();
    let run = himuon_with_cache(&there, &["cache", "import", bad.to_str().unwrap()]);
    assert_eq!(run.code, 1);
    assert!(
        run.err.contains("bad.json") && run.err.contains("cache export"),
        "{}",
        run.err
    );
    // What that removes lies in the cache folder.
    assert!(!run.err.contains("gc --damaged"), "{}", run.err);
}

#[test]
fn garbage_goes_and_the_rest_stays() {
    let folder = Folder::new();
    let cache = folder.path("cache");
    let digest = cpu_digest_of(&winner()).unwrap();
    table(DeviceFingerprint::cpu(), 8, &digest, u64::MAX / 2)
        .save(&cache)
        .unwrap();
    table(DeviceFingerprint::cpu(), 16, "other source", u64::MAX / 2)
        .save(&cache)
        .unwrap();
    // Chosen by hand, for whatever source.
    table(DeviceFingerprint::cpu(), 32, "", u64::MAX / 2)
        .save(&cache)
        .unwrap();
    table(gpu(), 16, "whatever", 1).save(&cache).unwrap();
    let tables = cache.join("tuning");
    std::fs::write(tables.join(".himuon-x.partial"), "{").unwrap();
    std::fs::write(tables.join("damaged.json"), "{").unwrap();
    let run = ok(&cache, &["cache", "gc", "--json"]);
    let json = run.json();
    assert_eq!(
        (&json["entries"], &json["candidates"]),
        (&1.into(), &1.into()),
        "{json}"
    );
    assert_eq!(json["files"].as_array().unwrap().len(), 1, "{json}");
    assert!(run.err.contains("damaged.json"), "{}", run.err);
    let left = TuningTable::load(&cache, &DeviceFingerprint::cpu())
        .unwrap()
        .unwrap();
    let kept: Vec<_> = left.entries.values().collect();
    assert_eq!(kept.len(), 2);
    for entry in kept {
        assert_ne!(entry.candidates[0].digest, "other source");
        assert_eq!(entry.candidates[0].verdict, Verdict::Measured);
    }
    let run = ok(
        &cache,
        &["cache", "gc", "--damaged", "--older-than", "30", "--json"],
    );
    assert_eq!(run.json()["files"].as_array().unwrap().len(), 2);
    assert!(!tables.join("damaged.json").exists());
    assert!(!TuningTable::path_in(&cache, &gpu()).exists());
    assert!(TuningTable::path_in(&cache, &DeviceFingerprint::cpu()).exists());
}

#[test]
fn a_read_only_cache_is_read_and_not_written() {
    let folder = Folder::new();
    let cache = folder.path("cache");
    let digest = cpu_digest_of(&winner()).unwrap();
    table(DeviceFingerprint::cpu(), 8, &digest, 1)
        .save(&cache)
        .unwrap();
    let read_only = |arguments: &[&str]| {
        crate::common::run_with(
            arguments,
            &[
                ("HIMUON_CACHE_DIR", cache.to_str().unwrap()),
                ("HIMUON_CACHE_READONLY", "1"),
            ],
        )
    };
    assert!(read_only(&["cache", "ls"]).out.contains(&winner()));
    let tune = ["tune", "--tile", "8", "--shape", "16x16", "--budget", "0"];
    for arguments in [&["cache", "clear"][..], &["cache", "gc"], &tune] {
        let run = read_only(arguments);
        assert_eq!(run.code, 1, "{arguments:?}");
        assert!(run.err.contains("HIMUON_CACHE_READONLY"), "{}", run.err);
    }
    let again: Vec<&str> = tune.into_iter().chain(["--no-save"]).collect();
    assert_eq!(read_only(&again).code, 0);
}
