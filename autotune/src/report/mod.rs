//! What tuning has found as one HTML file that needs nothing else: plots, and the tables behind them.

mod html;
mod plot;
mod roofline;

pub use roofline::Roofs;

use crate::advise::Point;
use himuon::KernelSpec;
use himuon::tuning::{ShapeClass, TuningEntry, TuningTable, Verdict};
use roofline::work;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
#[error("the report cannot be drawn: {0}")]
pub struct ReportError(String);

/// A measured candidate.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sample {
    /// Number of its entry in the table.
    pub(crate) entry: usize,
    /// The specification's tile, in words.
    pub(crate) tile: String,
    /// What the entry is called in the plots: its tile, with its number of tiles where another entry has the same.
    pub(crate) name: String,
    pub(crate) variant: String,
    pub(crate) winner: bool,
    /// Median of the cold runs, in seconds.
    pub(crate) seconds: f64,
    /// The model's time, in seconds; 0: none.
    pub(crate) predicted: f64,
    /// Nominal operations of the launch, and bytes that it must move.
    pub(crate) work: (f64, f64),
}

/// One device of the report.
#[derive(Debug)]
pub struct Section<'a> {
    /// Its table.
    pub table: &'a TuningTable,
    /// Peak and bandwidth, where they are known.
    pub roofs: Option<Roofs>,
}

/// The whole report. `advice` are the points of [`crate::advise`], if there are any.
///
/// # Errors
/// A plot that cannot be drawn.
pub fn report(sections: &[Section<'_>], advice: &[Point]) -> Result<String, ReportError> {
    let mut page = html::Page::new("HiMuon: tuned kernels");
    for section in sections {
        device(section, &mut page)?;
    }
    if !advice.is_empty() {
        page.heading("Tiles on the momentum file");
        page.paragraph(&format!(
            "Time of a step over distance from whole matrices, which are at distance 0 and drawn at {}. Blue: on the \
             front of time, workspace and distance; the line joins those that no faster one is closer than.",
            plot::NEAREST
        ));
        page.figure(&plot::pareto(advice)?);
        page.table(
            &[
                "tile",
                "ms",
                "workspace bytes",
                "closeness to whole-matrix Muon",
                "front",
            ],
            advice.iter().map(|point| {
                vec![
                    point.spec.tile.to_string(),
                    format!("{:.3}", 1e3 * point.seconds),
                    point
                        .workspace_bytes
                        .map_or("-".to_owned(), |bytes| bytes.to_string()),
                    format!("{:.5}", point.closeness),
                    if point.on_front { "yes" } else { "" }.to_owned(),
                ]
            }),
        );
    }
    if sections.is_empty() {
        page.paragraph("Nothing has been tuned yet: run himuon tune.");
    }
    Ok(page.finish())
}

fn device(section: &Section<'_>, page: &mut html::Page) -> Result<(), ReportError> {
    let device = &section.table.device;
    let clock = if section.table.emulated {
        ", emulated: these times are those of a test clock"
    } else {
        ""
    };
    page.heading(&format!(
        "{} {} ({}){clock}",
        device.kind, device.name, device.architecture
    ));
    let samples = samples(section.table);
    if !samples.is_empty() {
        page.paragraph(
            "Time by tile: each point a variant, side by side from the fastest to the slowest, the winner filled. Cold \
             caches, median.",
        );
        page.figure(&plot::times(&samples)?);
        if let Some(roofs) = section.roofs {
            page.paragraph(&format!(
                "Roofline of the winners: nominal operations (6 T^3 K for K quintic steps) over the bytes that a step \
                 must move; peak {:.0} GFLOP/s, memory {:.1} GB/s, both measured here. Kernels that compute one \
                 triangle of a symmetric product may pass the peak.",
                1e-9 * roofs.peak,
                1e-9 * roofs.bandwidth
            ));
            page.figure(&plot::roofline(&samples, roofs)?);
        }
        if samples.iter().any(|sample| sample.predicted > 0.0) {
            page.paragraph(
                "Predicted against measured; on the line they agree. The model is there to rank.",
            );
            page.figure(&plot::predicted(&samples)?);
        }
    }
    for ((spec, class), entry) in &section.table.entries {
        entry_table(spec, *class, entry, page);
    }
    Ok(())
}

fn entry_table(spec: &str, class: ShapeClass, entry: &TuningEntry, page: &mut html::Page) {
    page.subheading(&format!("{spec} ({class}, {} threads)", entry.threads));
    page.table(
        &[
            "variant",
            "verdict",
            "cold ms",
            "warm ms",
            "over the winner",
            "rounds",
            "predicted rank",
            "predicted ms",
            "error against f64",
            "source",
            "why excluded",
        ],
        entry.candidates.iter().map(|record| {
            let milliseconds = |seconds: f64| match seconds.is_finite() {
                true => format!("{:.4}", 1e3 * seconds),
                false => String::new(),
            };
            let winner = record.variant == entry.winner;
            vec![
                format!(
                    "{}{}",
                    record.variant,
                    if winner { " (winner)" } else { "" }
                ),
                format!("{:?}", record.verdict).to_lowercase(),
                milliseconds(record.seconds()),
                milliseconds(record.warm_seconds()),
                format!("{:.3}", record.relative),
                record.cold_ns.len().to_string(),
                record.predicted_rank.to_string(),
                format!("{:.4}", 1e-6 * record.predicted_ns as f64),
                record
                    .error
                    .map_or_else(String::new, |error| format!("{error:.1e}")),
                record.digest.clone(),
                record.reason.clone(),
            ]
        }),
    );
}

/// A name of each entry, all different: its tile, as far as needed with its number of tiles and the entry's own.
fn names(table: &TuningTable) -> Vec<String> {
    let tile = |spec: &str| match spec.parse::<KernelSpec>() {
        Ok(spec) => spec.tile.to_string(),
        Err(_) => String::new(),
    };
    let keys: Vec<(String, ShapeClass)> = table
        .entries
        .keys()
        .map(|(spec, class)| (tile(spec), *class))
        .collect();
    let alike = |same: &dyn Fn(&(String, ShapeClass)) -> bool| {
        keys.iter().filter(|key| same(key)).count() > 1
    };
    keys.iter()
        .enumerate()
        .map(|(index, (tile, class))| {
            let mut name = tile.clone();
            if alike(&|other| other.0 == *tile) {
                name = format!("{name} ({})", class.to_string().trim_start_matches("tiles"));
            }
            if alike(&|other| other == &keys[index]) {
                name = format!("{name} #{}", index + 1);
            }
            name
        })
        .collect()
}

fn samples(table: &TuningTable) -> Vec<Sample> {
    let mut samples = Vec::new();
    let names = names(table);
    for (index, ((spec, _), entry)) in table.entries.iter().enumerate() {
        let Ok(spec) = spec.parse::<KernelSpec>() else {
            continue;
        };
        let timed = entry
            .candidates
            .iter()
            .filter(|record| record.verdict == Verdict::Measured && !record.cold_ns.is_empty());
        samples.extend(timed.map(|record| Sample {
            entry: index,
            tile: spec.tile.to_string(),
            name: names[index].clone(),
            variant: record.variant.clone(),
            winner: record.variant == entry.winner,
            seconds: record.seconds(),
            predicted: 1e-9 * record.predicted_ns as f64,
            work: work(&spec, &entry.shapes),
        }));
    }
    samples
}
