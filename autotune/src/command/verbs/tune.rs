//! `himuon tune`

mod advice;
mod architecture;
mod jobs;
mod print;

use super::super::console::{Console, Outcome};
use super::super::error::CommandError;
use super::super::output::shown;
use super::super::spec_arguments::SpecArguments;
use super::{Device, arguments};
use clap::Args;
use himuon::cuda::CudaTarget;
use himuon::tuning::{
    Clock, CpuTarget, Level, TuneJob, TuneOptions, TuneOutcome, Tuned, Tuner, TuningTable,
    TuningTarget, cache_folder,
};
use serde_json::json;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Set by Ctrl-C.
static STOP: AtomicBool = AtomicBool::new(false);

/// Find the fastest variant of specifications on this machine, and keep it
///
/// Every variant is first compared with the same map in f64 on hard input, then timed in turns with the others. The
/// winner is written to the tuning table in the cache folder, which the optimizer reads. What is known already is not
/// measured again. Ctrl-C stops soon and keeps what is done; the same command goes on from there.
///
/// With --arch nothing runs: a model ranks the CUDA kernels of an architecture and compares them with the time that
/// their memory traffic takes.
///
/// Specifications come from the fields below, from a crate's attributes (--crate) or from the stock grid (--stock);
/// matrices from --shape or --shapes.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    himuon tune --tile 64 --shape 768x3072 --shape 768x768\n  \
    himuon tune --crate . --shapes gpt2-small\n  \
    himuon tune --tile 128 --power 1/2 --level patient --json\n  \
    himuon tune --stock --level estimate\n  \
    himuon tune --stock --device cuda:0 --shapes llama-1b\n  \
    himuon tune --stock --arch sm_90a --shape 4096x4096\n  \
    himuon tune --advise state.safetensors")]
pub(in super::super) struct Arguments {
    #[command(flatten)]
    spec: SpecArguments,
    /// Folder of a crate: every specification that its #[himuon(...)] attributes declare
    #[arg(long = "crate", value_name = "PATH")]
    krate: Option<PathBuf>,
    /// The stock grid: for the CPU tiles 16 to 256 and the whole matrix, for a GPU 16 to 128 in bf16, f16 and f32
    #[arg(long, conflicts_with = "krate")]
    stock: bool,
    /// Size of a matrix of the launch that is timed; may be repeated [default: 768x768]
    #[arg(long = "shape", value_name = "ROWSxCOLUMNS", value_parser = arguments::shape)]
    shapes: Vec<(usize, usize)>,
    /// Matrices of a model: gpt2-small, llama-1b, a .json list or a .safetensors file
    #[arg(long = "shapes", value_name = "MODEL", conflicts_with = "shapes")]
    model: Option<String>,
    /// How much to do: estimate (nothing runs), measure or patient
    #[arg(long, value_name = "LEVEL", default_value = "measure")]
    level: Level,
    /// Seconds of timing for each specification [default: 5, patient 20]
    #[arg(long, value_name = "SECONDS", value_parser = arguments::seconds)]
    budget: Option<f64>,
    /// How many times as fast as the winner so far, or the default, a variant must be to take its place
    /// [default: 1.02]
    #[arg(long, value_name = "FACTOR", value_parser = arguments::speedup)]
    least_speedup: Option<f64>,
    /// The most variants that are measured, those that the model puts first [default: 16; patient: all, on a GPU 64]
    #[arg(long, value_name = "N")]
    candidates: Option<usize>,
    /// Measure what is known again
    #[arg(long)]
    again: bool,
    /// Where to measure: cpu, or cuda:N
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    device: Device,
    /// Estimate for a GPU of this architecture, without one: sm_75, sm_80, sm_86, sm_89, sm_90a,
    /// sm_100a or sm_120. Nothing is kept
    #[arg(long, value_name = "TARGET", conflicts_with_all = ["device", "level", "budget", "least_speedup", "candidates", "again", "no_save"])]
    arch: Option<String>,
    /// Compare tiles on the matrices of this state file instead: time, workspace, closeness to whole-matrix Muon. Of a --spec
    /// all but the tile counts
    #[arg(long, value_name = "FILE", conflicts_with_all = [
        "krate", "stock", "tile", "shapes", "model", "level", "budget", "least_speedup", "candidates", "again", "device", "compile", "no_save"
    ])]
    advise: Option<PathBuf>,
    /// With --arch: compile so many of the best candidates for their registers and spills
    #[arg(long, value_name = "N", default_value_t = 0, requires = "arch")]
    compile: usize,
    /// Threads of the CPU; 0: all
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = arguments::threads)]
    threads: usize,
    /// Measure only
    #[arg(long)]
    no_save: bool,
}

impl Arguments {
    /// Whether the kernels are CUDA's, there or only thought of.
    fn is_for_gpu(&self) -> bool {
        self.arch.is_some() || self.device != Device::Cpu
    }

    /// Whether kernels of the CPU run.
    fn measures_cpu(&self) -> bool {
        !self.is_for_gpu() && self.level != Level::Estimate
    }
}

pub(in super::super) fn run(
    arguments: &Arguments,
    console: &Console,
) -> Result<Outcome, CommandError> {
    refuse_idle_threads(arguments)?;
    refuse_idle_measures(arguments)?;
    if let Some(file) = &arguments.advise {
        return advice::run(arguments, file, console);
    }
    if let Some(target) = &arguments.arch {
        return architecture::run(arguments, target, console);
    }
    let mut target = target(arguments)?;
    let jobs = jobs::jobs(arguments, console)?;
    if arguments.level == Level::Estimate {
        return print::estimates(&*target, &jobs);
    }
    let emulated = target.clock() == Clock::Emulated;
    if emulated {
        console.warn(
            "the device is emulated: its clock counts instructions; what is found is kept apart and chooses nothing",
        );
    }
    let folder = match arguments.no_save {
        true => None,
        false => Some(cache_folder().map_err(CommandError::Tuning)?),
    };
    if let Some(folder) = &folder {
        let table = match emulated {
            true => TuningTable::emulated(target.fingerprint()),
            false => TuningTable::new(target.fingerprint()),
        };
        table.check_savable(folder).map_err(CommandError::Tuning)?;
    }
    let options = options(arguments);
    stop_on_ctrl_c(console);
    let mut bar = console.progress("tuning", 1000 * jobs.len() as u64);
    let tuned = Tuner::new(&mut *target, options).stop_at(&STOP).tune(
        &jobs,
        folder.as_deref(),
        &mut |progress| {
            let tile = progress.spec.tile;
            let what = format!(
                "{}/{} tile {tile}: {}",
                progress.done + 1,
                progress.total,
                progress.stage
            );
            bar.reach(&what, progress.fraction);
        },
    );
    let seconds = bar.finish();
    let tuned = tuned.map_err(CommandError::Tuning)?;
    let file = folder.map(|folder| tuned.table.path(&folder));
    if tuned.outcomes.contains(&TuneOutcome::Stopped) {
        return Err(stopped(&tuned, file.is_some()));
    }
    outcome(&jobs, &tuned, file, seconds)
}

/// Refuses --threads where no kernel runs on the CPU.
fn refuse_idle_threads(arguments: &Arguments) -> Result<(), CommandError> {
    let idle = arguments.is_for_gpu() && arguments.advise.is_none();
    match idle && arguments.threads > 0 {
        false => Ok(()),
        true => Err(CommandError::Request(
            "--threads is of the CPU: leave it out with --arch and with --device cuda".to_owned(),
        )),
    }
}

/// Refuses what is about measuring where nothing runs.
fn refuse_idle_measures(arguments: &Arguments) -> Result<(), CommandError> {
    let stated = [
        ("--budget", arguments.budget.is_some()),
        ("--least-speedup", arguments.least_speedup.is_some()),
        ("--candidates", arguments.candidates.is_some()),
        ("--again", arguments.again),
        ("--no-save", arguments.no_save),
    ];
    match stated.iter().find(|(_, stated)| *stated) {
        Some((option, _)) if arguments.level == Level::Estimate => {
            Err(CommandError::Request(format!(
                "{option} is of what is measured: leave it out with --level estimate, which runs and keeps nothing"
            )))
        }
        _ => Ok(()),
    }
}

/// Where the variants run.
fn target(arguments: &Arguments) -> Result<Box<dyn TuningTarget>, CommandError> {
    Ok(match arguments.device {
        Device::Cpu => {
            let threads = (arguments.threads > 0).then_some(arguments.threads);
            Box::new(CpuTarget::new(threads).map_err(CommandError::Kernel)?)
        }
        Device::Cuda(ordinal) => Box::new(CudaTarget::new(ordinal)?),
    })
}

fn options(arguments: &Arguments) -> TuneOptions {
    let budget = match (arguments.budget, arguments.level) {
        (Some(seconds), _) => seconds,
        (None, Level::Patient) => 20.0,
        (None, _) => 5.0,
    };
    TuneOptions {
        level: arguments.level,
        budget: Duration::from_secs_f64(budget),
        least_speedup: arguments
            .least_speedup
            .unwrap_or(TuneOptions::default().least_speedup),
        again: arguments.again,
        candidates: arguments.candidates,
    }
}

fn stop_on_ctrl_c(console: &Console) {
    let set = ctrlc::set_handler(|| {
        // Who asks twice does not want to wait for the run at hand.
        if STOP.swap(true, Ordering::Relaxed) {
            std::process::exit(1);
        }
    });
    if let Err(error) = set {
        console.detail(&format!("Ctrl-C ends at once: {error}"));
    }
}

fn stopped(tuned: &Tuned, kept: bool) -> CommandError {
    let done = |outcome: &&TuneOutcome| **outcome != TuneOutcome::Stopped;
    CommandError::Stopped(format!(
        "stopped: {} of {} specifications are done{}",
        tuned.outcomes.iter().filter(done).count(),
        tuned.outcomes.len(),
        match kept {
            true => " and kept; the same command goes on from there",
            false => "; --no-save keeps none of them",
        }
    ))
}

fn outcome(
    jobs: &[TuneJob],
    tuned: &Tuned,
    file: Option<PathBuf>,
    seconds: f64,
) -> Result<Outcome, CommandError> {
    let kept = match &file {
        Some(file) => format!("kept in {}", file.display()),
        None => "not kept".to_owned(),
    };
    let text = format!(
        "{}\n{} of {} specifications measured, {kept} ({seconds:.1} s)",
        print::found(jobs, tuned),
        tuned
            .outcomes
            .iter()
            .filter(|outcome| **outcome == TuneOutcome::Measured)
            .count(),
        jobs.len(),
    );
    let table = tuned.table.to_value().map_err(CommandError::Tuning)?;
    Ok(Outcome {
        text,
        json: json!({
            "device": table["device"],
            "entries": table["entries"],
            "outcomes": tuned.outcomes.iter().map(|outcome| {
                format!("{outcome:?}").to_lowercase()
            }).collect::<Vec<_>>(),
            "file": file.as_deref().map(shown),
            "seconds": seconds,
        }),
    })
}
