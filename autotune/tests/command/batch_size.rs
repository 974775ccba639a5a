//! `himuon batch-size` on tables of runs.

use crate::common::{Folder, Run, himuon};
use std::fmt::Write;

fn run(folder: &Folder, table: &str, more: &[&str]) -> Run {
    let path = folder.path("runs.csv");
    std::fs::write(&path, table).unwrap();
    himuon(
        ["batch-size", path.to_str().unwrap()]
            .into_iter()
            .chain(more.iter().copied()),
    )
}

/// A = 120; b* = 36 for nesterov, 64 for heavy; three seeds within 3 %.
fn table() -> String {
    let mut text = String::from("# a sweep\nvariant, batch ,steps,seed\n");
    for (variant, noise) in [("nesterov", 4.0f64), ("heavy", 16.0 / 3.0)] {
        for batch in [32u32, 64, 128, 256, 512] {
            for (seed, factor) in [0.98, 1.0, 1.03].iter().enumerate() {
                let root = f64::from(batch).sqrt();
                let steps = factor * 120.0 * root / (root - noise);
                writeln!(text, "{variant},{batch},{steps:.1},{seed}").unwrap();
            }
        }
    }
    text
}

#[test]
fn every_variant_has_its_batch_and_an_interval_around_it() {
    let folder = Folder::new();
    let svg = folder.path("samples.svg");
    let found = run(
        &folder,
        &table(),
        &["--json", "--svg", svg.to_str().unwrap()],
    );
    assert_eq!(found.code, 0, "{}", found.err);
    let json = found.json();
    let series = json["series"].as_array().unwrap();
    for (series, (name, expected)) in series.iter().zip([("heavy", 64.0), ("nesterov", 36.0)]) {
        assert_eq!(series["variant"], name);
        let batch = series["fit"]["batch"].as_f64().unwrap();
        assert!((batch / expected - 1.0).abs() < 0.1, "{series}");
        let interval = [0, 1].map(|end| series["fit"]["interval"][end].as_f64().unwrap());
        assert!(interval[0] < expected && expected < interval[1], "{series}");
    }
    let plot = std::fs::read_to_string(svg).unwrap();
    for part in ["samples to the target", "heavy: b* =", "nesterov: b* ="] {
        assert!(plot.contains(part), "{part}");
    }
    let text = run(&folder, &table(), &[]).out;
    assert!(
        text.contains("90 % interval") && text.contains("lower bound"),
        "{text}"
    );
}

#[test]
fn a_variant_without_a_fit_is_warned_of_and_unreached_targets_too() {
    let folder = Folder::new();
    let text = table() + "flat,1,10,0\nflat,4,10,0\nflat,16,,0\n";
    let found = run(&folder, &text, &[]);
    assert_eq!(found.code, 0, "{}", found.err);
    assert!(
        found.err.contains("flat: 1 runs did not reach"),
        "{}",
        found.err
    );
    assert!(
        found.err.contains("flat: 2 different batch sizes"),
        "{}",
        found.err
    );
    let only = run(&folder, "batch,steps\n1,10\n4,11\n16,12\n", &[]);
    assert_eq!(only.code, 1);
    assert!(only.err.contains("measure smaller batches"), "{}", only.err);
}

#[test]
fn tables_of_spreadsheets_read() {
    let folder = Folder::new();
    let plain = run(&folder, &table(), &["--json"]).json();
    let mut quoted = String::from("\u{feff}");
    for line in table().lines().filter(|line| !line.starts_with('#')) {
        let cells: Vec<String> = line
            .split(',')
            .map(|cell| format!("\"{}\"", cell.trim()))
            .collect();
        writeln!(quoted, "{}\r", cells.join(",")).unwrap();
    }
    let found = run(&folder, &quoted, &["--json"]);
    assert_eq!(found.code, 0, "{}", found.err);
    assert_eq!(found.json()["series"], plain["series"]);
    let comma = quoted.replace("\"heavy\"", "\"a \"\"heavy\"\", ball\"");
    let found = run(&folder, &comma, &["--json"]);
    assert_eq!(found.json()["series"][0]["variant"], "a \"heavy\", ball");
}

#[test]
fn few_runs_are_warned_of() {
    let folder = Folder::new();
    let runs = ["32,410", "64,240", "128,185", "256,160", "512,146"];
    for (count, warned) in [(4, true), (5, false)] {
        let text = format!("batch,steps\n{}\n", runs[..count].join("\n"));
        let found = run(&folder, &text, &[]);
        assert_eq!(found.code, 0, "{}", found.err);
        assert_eq!(found.err.contains("a rough one"), warned, "{}", found.err);
    }
}

#[test]
fn tables_that_do_not_read_are_refused_with_their_line() {
    let folder = Folder::new();
    for (text, says) in [
        ("", "no column batch"),
        ("batch,loss\n1,2\n", "no column steps"),
        ("batch,steps\n", "no run"),
        ("batch,steps\n1,2,3\n", "line 2: 3 cells"),
        ("batch,steps\n\n8,many\n", "line 3: steps is many"),
        ("batch,steps\n0,2\n", "line 2: batch is 0"),
        ("batch,steps,batch\n1,2,3\n", "column batch more than once"),
    ] {
        let found = run(&folder, text, &[]);
        assert_eq!(found.code, 1, "{text}");
        assert!(
            found.err.contains(says) && !found.err.contains("panicked"),
            "{}",
            found.err
        );
    }
    let absent = himuon(["batch-size", folder.path("absent").to_str().unwrap()]);
    assert!(absent.code == 1 && absent.err.contains("cannot be read"));
}
