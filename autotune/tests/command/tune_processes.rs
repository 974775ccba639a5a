//! Tuners that meet, are stopped, or are killed.

use crate::common::{Folder, himuon_with_cache};
use himuon::tuning::{DeviceFingerprint, TuningTable};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

fn spawn(cache: &Path, arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_himuon"))
        .args(["tune", "--threads", "1", "--shape", "16x16"])
        .args(arguments)
        .env("HIMUON_CACHE_DIR", cache)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn entries(cache: &Path) -> usize {
    let table = TuningTable::load(cache, &DeviceFingerprint::cpu()).unwrap();
    table.map_or(0, |table| {
        assert!(table.warnings().is_empty(), "{:?}", table.warnings());
        table.entries.len()
    })
}

#[test]
fn eight_tuners_at_once_lose_nothing() {
    let folder = Folder::new();
    let cache = folder.path("cache");
    let tuners: Vec<Child> = (1..=8)
        .map(|tile| spawn(&cache, &["--tile", &tile.to_string(), "--budget", "0"]))
        .collect();
    for mut tuner in tuners {
        assert!(tuner.wait().unwrap().success());
    }
    assert_eq!(entries(&cache), 8);
}

fn wait_for(cache: &Path, count: usize) {
    let start = Instant::now();
    while !TuningTable::path_in(cache, &DeviceFingerprint::cpu()).exists() || entries(cache) < count
    {
        assert!(
            start.elapsed() < Duration::from_secs(120),
            "nothing is kept"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Seven specifications, more than a second each.
const STOCK: [&str; 3] = ["--stock", "--budget", "1"];

#[test]
fn ctrl_c_keeps_what_is_done_and_the_same_command_goes_on() {
    let folder = Folder::new();
    let cache = folder.path("cache");
    let tuner = spawn(&cache, &STOCK);
    wait_for(&cache, 1);
    let id = tuner.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &id])
            .status()
            .unwrap()
            .success()
    );
    let output = tuner.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("done and kept"), "{said}");
    let done = entries(&cache);
    assert!((1..7).contains(&done), "{done}");
    // Killed outright on the way to the rest: nothing is torn, and no lock is left.
    let mut tuner = spawn(&cache, &STOCK);
    wait_for(&cache, done + 1);
    tuner.kill().unwrap();
    tuner.wait().unwrap();
    let kept = entries(&cache);
    assert!(kept > done);
    let start = Instant::now();
    let quick = [
        "tune",
        "--tile",
        "8",
        "--shape",
        "16x16",
        "--budget",
        "0",
        "--threads",
        "1",
    ];
    assert_eq!(himuon_with_cache(&cache, &quick).code, 0);
    assert!(start.elapsed() < Duration::from_secs(30));
    assert_eq!(entries(&cache), kept + 1);
}
