//! What tuning costs and brings on this machine: `cargo bench -p himuon-tests --bench tuning`.
//!
//! * Cold: tuning one specification from nothing, verification included (to stay under 30 s).
//! * Warm: building an optimizer whose choices lie in a table of the stock grid (to stay under 50 ms).
//! * For every specification of the stock grid the default's time over the tuned one's, the median of five runs of
//!   pairs in turns (to stay above 0.98), and the rank that the model had given to the fastest candidate.
//!
//! Not a criterion bench: one tuning takes seconds. The tensors are Gaussian, the caches emptied before each run.
//! `HIMUON_BENCH_BUDGET` sets the seconds of timing for each specification, 5 by default.
#![allow(clippy::unwrap_used, clippy::panic)] // A bench without its subject fails.

use himuon::optimizer::MuonOptions;
use himuon::templates::{Operand, SpecFields};
use himuon::tuning::{
    CacheState, CpuTarget, TuneJob, TuneOptions, Tuner, TuningEntry, TuningTable, TuningTarget,
};
use himuon::{HiMuon, KernelSpec, Tile};
use std::path::Path;
use std::time::{Duration, Instant};

const SHAPES: [(usize, usize); 2] = [(768, 768), (768, 1536)];
const RUNS: usize = 5;
const PAIRS: usize = 9;
const COLD_LIMIT: f64 = 30.0;
const WARM_LIMIT: f64 = 0.050;
const LEAST_RATIO: f64 = 0.98;

fn spec(tile: Tile) -> KernelSpec {
    let fields = SpecFields {
        tile: Some(tile),
        operand: Some(Operand::F32),
        ..SpecFields::default()
    };
    fields.resolve().unwrap()
}

fn stock() -> Vec<TuneJob> {
    let tiles = [16, 32, 64, 96, 128, 256].map(Tile::square);
    let tiles = tiles.into_iter().chain([Tile::Full]);
    let job = |tile| TuneJob {
        spec: spec(tile),
        shapes: SHAPES.to_vec(),
    };
    tiles.map(job).collect()
}

fn main() {
    let budget = std::env::var("HIMUON_BENCH_BUDGET").ok();
    let budget = budget.map_or(5.0, |text| text.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let mut target = CpuTarget::new(None).unwrap();
    let options = TuneOptions {
        budget: Duration::from_secs_f64(budget),
        ..TuneOptions::default()
    };
    let jobs = stock();
    let mut slowest: f64 = 0.0;
    let mut table = TuningTable::new(target.fingerprint());
    for job in &jobs {
        let start = Instant::now();
        let tuned = Tuner::new(&mut target, options)
            .tune(std::slice::from_ref(job), Some(folder.path()), &mut |_| {})
            .unwrap();
        slowest = slowest.max(start.elapsed().as_secs_f64());
        table.merge(tuned.table);
    }
    println!(
        "cold tuning of one specification, the slowest of {}: {slowest:.1} s",
        jobs.len()
    );
    let warm = warm_start(folder.path(), &jobs);
    println!("warm start, median of 21: {:.2} ms", 1e3 * warm);
    let least = compare(&mut target, &jobs, &table);
    let kept = [
        ("cold under 30 s", slowest < COLD_LIMIT),
        ("warm under 50 ms", warm < WARM_LIMIT),
        (
            "tuned at least 0.98 times as fast as the default",
            least >= LEAST_RATIO,
        ),
    ];
    for (limit, holds) in kept {
        println!("{limit}: {}", if holds { "holds" } else { "BROKEN" });
    }
}

/// Seconds until an optimizer is built that uses the table.
fn warm_start(folder: &Path, jobs: &[TuneJob]) -> f64 {
    let device = himuon::tuning::DeviceFingerprint::cpu();
    let build = || {
        let start = Instant::now();
        let table = TuningTable::load(folder, &device).unwrap().unwrap();
        let mut builder = HiMuon::builder().tuning(table);
        for (index, job) in jobs.iter().enumerate() {
            let name = format!("blocks.{index}.weight");
            builder = builder
                .parameter(name.clone(), &[768, 768])
                .group_with(name, MuonOptions::specs([job.spec.clone()]));
        }
        let optimizer = builder.build().unwrap();
        assert_eq!(optimizer.plan(0).unwrap().launches.len(), jobs.len());
        start.elapsed().as_secs_f64()
    };
    median((0..21).map(|_| build()).collect())
}

/// Prints a line for each specification; returns the smallest ratio.
fn compare(target: &mut CpuTarget, jobs: &[TuneJob], table: &TuningTable) -> f64 {
    println!(
        "{:>6}  {:18} {:18} {:>8}  candidates  rank of the fastest",
        "tile", "default", "tuned", "ratio"
    );
    let mut least = f64::INFINITY;
    let mut ranks = Vec::new();
    for job in jobs {
        let entry = table.entry(&job.spec, job.class()).unwrap();
        let default = target.candidates(&job.spec, &job.shapes).unwrap()[0]
            .variant
            .clone();
        target.load(&job.spec, &job.shapes).unwrap();
        let runs = (0..RUNS).map(|_| ratio(target, job, &default, &entry.winner));
        let ratio = median(runs.collect());
        least = least.min(ratio);
        let (rank, count) = (rank_of_fastest(entry), entry.candidates.len());
        ranks.push(rank);
        let tile = job.spec.tile.to_string();
        println!(
            "{tile:>6}  {default:18} {:18} {ratio:8.3}  {count:10}  {rank}",
            entry.winner
        );
    }
    ranks.sort_unstable();
    println!("ranks of the fastest candidates by the model: {ranks:?}");
    least
}

/// The default's time over the winner's, both in turns.
fn ratio(target: &mut CpuTarget, job: &TuneJob, default: &str, winner: &str) -> f64 {
    let mut ratios = Vec::with_capacity(PAIRS);
    for pair in 0..PAIRS {
        let mut run = |variant| target.run(&job.spec, variant, CacheState::Cold).unwrap() as f64;
        let (slow, fast) = match pair % 2 {
            0 => {
                let first = run(default);
                (first, run(winner))
            }
            _ => {
                let first = run(winner);
                (run(default), first)
            }
        };
        ratios.push(slow / fast);
    }
    median(ratios)
}

fn rank_of_fastest(entry: &TuningEntry) -> usize {
    entry
        .ranked()
        .min_by(|a, b| a.seconds().total_cmp(&b.seconds()))
        .map_or(0, |record| record.predicted_rank)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}
