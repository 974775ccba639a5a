//! `himuon bench`

use super::super::console::{Console, Outcome};
use super::super::error::CommandError;
use super::super::table::table;
use super::{Device, arguments};
use crate::workload::check_room;
use clap::Args;
use himuon::KernelSpec;
use himuon::cpu::{InstructionSet, MapSpeed, measure_maps};
use himuon::templates::{CoefficientSet, Power, SpecFields, Tile};
use himuon::tuning::DeviceFingerprint;
use serde_json::json;
use std::time::Duration;

/// Measure the bare map on one thread, beside the machine's own multiply-add peak
///
/// Nominal operations are those of the recurrence as it is written (6 T^3 K for K quintic steps of a T x T tile);
/// the kernels compute one triangle of the symmetric products, so more than 100 % of the peak is possible.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    himuon bench\n  \
    himuon bench --tile 64 --tile full --power 1/2 --shape 768x3072 --json")]
pub(in super::super) struct Arguments {
    /// Tile, as 128, 64x256 or full; may be repeated [default: 16, 32, 64, 128, 256, full]
    #[arg(long = "tile", value_name = "TILE")]
    tiles: Vec<Tile>,
    /// Steps K of the recurrence [default: the coefficient set's own]
    #[arg(long, value_name = "K")]
    steps: Option<u32>,
    /// Coefficient set [default: muon]
    #[arg(long, value_name = "SET")]
    coefficients: Option<CoefficientSet>,
    /// Power p, as 1/2 or 0.5 [default: 0]
    #[arg(long, value_name = "P")]
    power: Option<Power>,
    /// Size of the matrix
    #[arg(long, value_name = "ROWSxCOLUMNS", default_value = "1024x1024", value_parser = arguments::shape)]
    shape: (usize, usize),
    /// Seconds for each tile; every tile is measured at least three times
    #[arg(long, value_name = "SECONDS", default_value_t = 0.5, value_parser = arguments::seconds)]
    seconds: f64,
    /// Where to measure
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    device: Device,
}

pub(in super::super) fn run(
    arguments: &Arguments,
    console: &Console,
) -> Result<Outcome, CommandError> {
    arguments.device.require_cpu()?;
    let specs = specs(arguments)?;
    let (rows, columns) = arguments.shape;
    // The matrix and its map.
    check_room(rows * columns, 8).map_err(CommandError::Request)?;
    let time = Duration::from_secs_f64(arguments.seconds);
    let mut progress = console.progress("measuring", specs.len() as u64);
    let mut speeds = Vec::with_capacity(specs.len());
    for spec in &specs {
        console.detail(&format!("measuring {spec}"));
        let measured = measure_maps(std::slice::from_ref(spec), arguments.shape, time);
        speeds.extend(measured.map_err(CommandError::Kernel)?);
        progress.advance(1);
    }
    progress.finish();
    let set = InstructionSet::best().name();
    let processor = DeviceFingerprint::cpu().name;
    let text = format!(
        "{}\n{rows} x {columns}, one thread, {set}, {processor}; the peak is measured between the samples",
        rendered(&speeds)
    );
    Ok(Outcome {
        text,
        json: json!({
            "device": "cpu",
            "processor": processor,
            "instruction_set": set,
            "threads": 1,
            "shape": [rows, columns],
            "kernels": speeds.iter().map(|speed| json!({
                "spec": speed.spec.to_string(),
                "seconds": speed.seconds,
                "nominal_operations_per_second": speed.nominal,
                "peak_operations_per_second": speed.peak,
                "fraction_of_peak": speed.fraction_of_peak(),
            })).collect::<Vec<_>>(),
        }),
    })
}

fn specs(arguments: &Arguments) -> Result<Vec<KernelSpec>, CommandError> {
    let mut tiles = arguments.tiles.clone();
    if tiles.is_empty() {
        tiles.extend([16, 32, 64, 128, 256].map(Tile::square));
        tiles.push(Tile::Full);
    }
    let spec = |tile: &Tile| {
        let fields = SpecFields {
            tile: Some(*tile),
            steps: arguments.steps,
            coefficients: arguments.coefficients.clone(),
            power: arguments.power,
            ..SpecFields::default()
        };
        Ok(fields.resolve()?)
    };
    tiles.iter().map(spec).collect()
}

fn rendered(speeds: &[MapSpeed]) -> String {
    let rows: Vec<Vec<String>> = speeds
        .iter()
        .map(|speed| {
            vec![
                speed.spec.tile.to_string(),
                format!("{:.3}", 1e3 * speed.seconds),
                format!("{:.1}", 1e-9 * speed.nominal),
                format!("{:.1}", 1e-9 * speed.peak),
                format!("{:.0}", 100.0 * speed.fraction_of_peak()),
            ]
        })
        .collect();
    table(
        &["tile", "ms", "nominal GFLOP/s", "peak GFLOP/s", "% of peak"],
        &rows,
    )
}
