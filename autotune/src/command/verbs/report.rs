//! `himuon report`

use super::super::console::{Console, Outcome};
use super::super::error::CommandError;
use super::super::output::{self, shown};
use super::cache::tables;
use crate::advise::{advise, momentum};
use crate::report::{Roofs, Section, report};
use clap::Args;
use himuon::KernelSpec;
use himuon::templates::{Operand, SpecFields, Tile};
use himuon::tuning::{DeviceFingerprint, TuningTable, cache_folder};
use serde_json::json;
use std::path::PathBuf;

/// Write what tuning has found as one HTML file with plots and tables
///
/// Time by tile and variant, a roofline, predicted against measured times, and every candidate. With --momentum also
/// the Pareto front of the tile.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    himuon report --out tuned.html\n  \
    himuon report --out tuned.html --momentum state.safetensors")]
pub(in super::super) struct Arguments {
    /// File to write
    #[arg(long, value_name = "FILE", default_value = "himuon-report.html")]
    out: PathBuf,
    /// State file for the front of tiles
    #[arg(long, value_name = "FILE")]
    momentum: Option<PathBuf>,
}

/// Tiles of the front.
const TILES: [u32; 5] = [16, 32, 64, 128, 256];

pub(in super::super) fn run(
    arguments: &Arguments,
    console: &Console,
) -> Result<Outcome, CommandError> {
    if let Some(file) = &arguments.momentum {
        output::refuse_input(file, &arguments.out)?;
    }
    let folder = cache_folder().map_err(CommandError::Tuning)?;
    let tables = tables(&folder, console)?;
    for (file, _) in &tables {
        output::refuse_input(file, &arguments.out)?;
    }
    let here = DeviceFingerprint::cpu();
    let sections: Vec<Section<'_>> = tables
        .iter()
        .map(|(_, table)| Section {
            table,
            roofs: (table.device == here).then(|| Roofs::measure(threads(table))),
        })
        .collect();
    let advice = match &arguments.momentum {
        None => Vec::new(),
        Some(file) => {
            let tuned = TuningTable::load_or_empty(here);
            let specs = specs()?;
            let mut bar = console.progress("comparing tiles", specs.len() as u64);
            let momentum = momentum(file)?;
            for left_out in &momentum.left_out {
                console.warn(&format!(
                    "{} {:?} not compared: {}",
                    left_out.name, left_out.shape, left_out.why
                ));
            }
            let points = advise(&specs, &momentum, 0, &tuned, None, |_| bar.advance(1))?;
            bar.finish();
            points
        }
    };
    output::write(&arguments.out, &report(&sections, &advice)?)?;
    let entries: usize = tables.iter().map(|(_, table)| table.entries.len()).sum();
    Ok(Outcome {
        text: format!(
            "{entries} entries of {} devices written to {}",
            tables.len(),
            arguments.out.display()
        ),
        json: json!({
            "file": shown(&arguments.out),
            "devices": tables.len(),
            "entries": entries,
            "tiles": advice.len(),
        }),
    })
}

/// The most threads that an entry was measured with; of a table from elsewhere no more than are here.
fn threads(table: &TuningTable) -> usize {
    let threads = table.entries.values().map(|entry| entry.threads);
    let here = std::thread::available_parallelism().map_or(1, usize::from);
    threads.max().unwrap_or(1).clamp(1, here)
}

fn specs() -> Result<Vec<KernelSpec>, CommandError> {
    let tiles = TILES.into_iter().map(Tile::square).chain([Tile::Full]);
    let spec = |tile| {
        let fields = SpecFields {
            tile: Some(tile),
            operand: Some(Operand::F32),
            ..SpecFields::default()
        };
        Ok(fields.resolve()?)
    };
    tiles.map(spec).collect()
}
