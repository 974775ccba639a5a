//! `himuon tune --advise`

use super::super::super::console::{Console, Outcome};
use super::super::super::error::CommandError;
use super::super::super::output::shown;
use super::super::super::table::table;
use super::{Arguments, architecture};
use crate::advise::{Point, Predict, advise, momentum};
use himuon::KernelSpec;
use himuon::cuda::model::ranked;
use himuon::templates::Tile;
use himuon::tuning::{DeviceFingerprint, TuningTable};
use serde_json::json;
use std::path::Path;

/// Tiles that are compared.
const TILES: [u32; 5] = [16, 32, 64, 128, 256];

pub(super) fn run(
    arguments: &Arguments,
    file: &Path,
    console: &Console,
) -> Result<Outcome, CommandError> {
    if arguments.spec.has_coarse() {
        return Err(CommandError::Request(
            "--advise compares tiles alone with the whole matrix: leave out --coarse, or see what a coarse part adds with \
             himuon apply --coarse"
                .to_owned(),
        ));
    }
    let momentum = momentum(file)?;
    for left_out in &momentum.left_out {
        console.warn(&format!(
            "{} {:?} not compared: {}",
            left_out.name, left_out.shape, left_out.why
        ));
    }
    let specs = specs(arguments)?;
    let device = match &arguments.arch {
        None => None,
        Some(target) => Some(architecture::device(target)?),
    };
    // Closeness is measured on the CPU, which multiplies in f32; a GPU as it was stated.
    let operand = arguments.spec.operand()?;
    let predicted = |spec: &KernelSpec, shapes: &[(usize, usize)]| {
        let spec = KernelSpec {
            operand,
            ..spec.clone()
        };
        let best = ranked(&spec, device.as_ref()?, shapes, &|_| None);
        Some(best.first()?.seconds)
    };
    let mut bar = console.progress("comparing", specs.len() as u64);
    let table = TuningTable::load_or_empty(DeviceFingerprint::cpu());
    let points = advise(
        &specs,
        &momentum,
        arguments.threads,
        &table,
        device.is_some().then_some(&predicted as Predict<'_>),
        |_| bar.advance(1),
    )?;
    bar.finish();
    let clock = match &device {
        Some(device) => format!(
            "predicted for {} ({}), products of {operand}",
            device.target, device.name
        ),
        None => "measured on this CPU".to_owned(),
    };
    Ok(Outcome {
        text: format!(
            "{}\n{} of {} matrices ({} of them in part), time {clock}; * on the Pareto front",
            rendered(&points),
            momentum.matrices.len(),
            momentum.found,
            momentum.cut
        ),
        json: json!({
            "file": shown(file),
            "matrices": momentum.matrices.iter().map(|matrix| json!({
                "name": matrix.name,
                "rows": matrix.rows,
                "columns": matrix.columns,
            })).collect::<Vec<_>>(),
            "matrices_in_file": momentum.found,
            "left_out": momentum.left_out,
            "clock": clock,
            "operand": device.is_some().then(|| operand.to_string()),
            "tiles": points.iter().map(|point| json!({
                "tile": point.spec.tile.to_string(),
                "spec": point.spec.to_string(),
                "seconds": point.seconds,
                "workspace_bytes": point.workspace_bytes,
                "closeness": point.closeness,
                "on_front": point.on_front,
            })).collect::<Vec<_>>(),
        }),
    })
}

fn specs(arguments: &Arguments) -> Result<Vec<KernelSpec>, CommandError> {
    let tiles = TILES.into_iter().map(Tile::square).chain([Tile::Full]);
    tiles
        .map(|tile| arguments.spec.resolve_for_cpu_with(tile))
        .collect()
}

fn rendered(points: &[Point]) -> String {
    let rows: Vec<Vec<String>> = points
        .iter()
        .map(|point| {
            vec![
                point.spec.tile.to_string(),
                format!("{:.3}", 1e3 * point.seconds),
                point.workspace_bytes.map_or("-".to_owned(), |bytes| {
                    format!("{:.1}", bytes as f64 / 1024.0)
                }),
                format!("{:.4}", point.closeness),
                if point.on_front { "*" } else { "" }.to_owned(),
            ]
        })
        .collect();
    table(
        &["tile", "ms", "workspace KiB", "closeness", "front"],
        &rows,
    )
}
