//! `himuon diagnose`

use super::super::console::{Console, Outcome};
use super::super::error::CommandError;
use super::super::output::{self, shown};
use super::super::table::table;
use super::arguments;
use crate::diagnose::{
    DiagnosedFile, DiagnosedMatrix, Selection, diagnose_file, html, method_text, parse_powers,
    parse_tests, parse_tiles,
};
use clap::Args;
use himuon::Tile;
use himuon::diagnose::{CriterionTest, DiagnosisOptions, TileDiagnosis};
use himuon::templates::{CoefficientSet, Power};
use serde_json::{Value, json};
use std::path::PathBuf;

/// Measure what tiling does to the matrices of a file
///
/// For every matrix (momentum, gradient or weight): its singular values; for every tile and power the cosine to
/// the map of the whole matrix, how orthogonal the tiles come out, the spectral norm of the scaled update, MiMuon's
/// criteria, cost; and which tile to take, and why. Of a state file the momenta are measured. Matrices with more
/// than --dense-limit rows and columns are sampled; the output says so.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    himuon diagnose optimizer.safetensors --html report.html\n  \
    himuon diagnose model.safetensors --tiles 32..256,64x256,full --powers 0,1/2 --json")]
pub(in super::super) struct Arguments {
    /// File to read
    #[arg(value_name = "FILE")]
    input: PathBuf,
    /// Tiles to compare: edges, rows x columns, full; a range doubles
    #[arg(long, value_name = "TILES", default_value = "16..512,full", value_parser = tiles)]
    tiles: List<Tile>,
    /// Powers p of U S^p V^T
    #[arg(long, value_name = "POWERS", default_value = "0,1/3,1/2", value_parser = powers)]
    powers: List<Power>,
    /// Coefficients at p = 0 [default: muon]
    #[arg(long, value_name = "SET")]
    coefficients: Option<CoefficientSet>,
    /// Steps K at p = 0 [default: the coefficient set's own]
    #[arg(long, value_name = "K")]
    steps: Option<u32>,
    /// MiMuon's criteria for which the tiles below are counted
    #[arg(
        long,
        value_name = "LIST",
        default_value = "fro_norm(1e-6),effective_rank(0.1),nuclear_rank(0.3),min_gap(1e-6)",
        value_parser = tests
    )]
    criteria: List<CriterionTest>,
    /// Cosine that a recommended tile reaches
    #[arg(long, value_name = "COSINE", default_value_t = 0.6, value_parser = part)]
    floor: f64,
    /// Share of the nuclear norm for which the rank of a coarse part is named
    #[arg(long, value_name = "SHARE", default_value_t = 0.5, value_parser = part)]
    coarse_share: f64,
    /// Only tensors whose name contains this; may be repeated
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,
    /// Every matrix of a state file, not the momenta alone
    #[arg(long)]
    all: bool,
    /// Largest min(rows, columns) that is not sampled
    #[arg(long, value_name = "N", default_value_t = 1024)]
    dense_limit: usize,
    /// Write a report with plots, in one file
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Threads; 0: all
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = arguments::threads)]
    threads: usize,
}

/// A comma-separated list, which clap takes for one value.
#[derive(Clone, Debug)]
struct List<T>(Vec<T>);

fn tiles(text: &str) -> Result<List<Tile>, String> {
    parse_tiles(text).map(List)
}

fn powers(text: &str) -> Result<List<Power>, String> {
    parse_powers(text).map(List)
}

fn tests(text: &str) -> Result<List<CriterionTest>, String> {
    parse_tests(text).map(List)
}

fn part(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(value) if (0.0..=1.0).contains(&value) => Ok(value),
        _ => Err("a number from 0 to 1".to_owned()),
    }
}

pub(in super::super) fn run(
    arguments: &Arguments,
    console: &Console,
) -> Result<Outcome, CommandError> {
    if let Some(path) = &arguments.html {
        output::refuse_input(&arguments.input, path)?;
    }
    let options = DiagnosisOptions {
        tiles: arguments.tiles.0.clone(),
        powers: arguments.powers.0.clone(),
        coefficients: arguments.coefficients.clone(),
        steps: arguments.steps,
        criteria: arguments.criteria.0.clone(),
        dense_limit: arguments.dense_limit,
        cosine_floor: arguments.floor,
        coarse_share: arguments.coarse_share,
        threads: arguments.threads,
        ..DiagnosisOptions::default()
    };
    let selection = Selection {
        containing: arguments.only.clone(),
        all: arguments.all,
    };
    let mut progress = None;
    let found = diagnose_file(
        &arguments.input,
        &selection,
        &options,
        |name, done, total| {
            let progress = progress.get_or_insert_with(|| console.progress("measuring", total));
            console.detail(&format!("{name}: {done} of {total} elements"));
            progress.advance(done);
        },
    )?;
    if let Some(progress) = progress {
        progress.finish();
    }
    for skipped in &found.skipped {
        console.warn(&format!(
            "{} {:?} not measured: {}",
            skipped.name, skipped.shape, skipped.why
        ));
    }
    if let Some(path) = &arguments.html {
        let name = arguments
            .input
            .file_name()
            .map_or_else(String::new, |n| n.display().to_string());
        output::write(path, &html(&name, &found)?)?;
    }
    Ok(Outcome {
        text: text(arguments, &found),
        json: report(arguments, &found),
    })
}

fn report(arguments: &Arguments, found: &DiagnosedFile) -> Value {
    json!({
        "input": shown(&arguments.input),
        "html": arguments.html.as_deref().map(shown),
        "floor": arguments.floor,
        "coarse_share": arguments.coarse_share,
        "matrices": found.matrices,
        "skipped": found.skipped,
    })
}

fn text(arguments: &Arguments, found: &DiagnosedFile) -> String {
    let mut parts: Vec<String> = {
        let matrices = found.matrices.iter();
        matrices
            .map(|matrix| matrix_text(matrix, arguments.coarse_share))
            .collect()
    };
    if let Some(path) = &arguments.html {
        parts.push(format!("report written to {}", path.display()));
    }
    parts.join("\n\n")
}

fn matrix_text(matrix: &DiagnosedMatrix, share: f64) -> String {
    let found = &matrix.diagnosis;
    let spectrum = &found.spectrum;
    let tails: Vec<String> = spectrum
        .tails
        .iter()
        .map(|tail| format!("{:.1} % below {:.0e}", 100.0 * tail.fraction, tail.below))
        .collect();
    let mut lines = vec![
        format!(
            "{}  {} x {}, {}",
            matrix.name,
            found.rows,
            found.columns,
            method_text(found.method)
        ),
        format!(
            "norm {:.4e}, stable rank {:.1}, participation ratio {:.1}, nuclear rank {:.1}, condition {:.1e}; \
             singular values: {}",
            found.norm,
            spectrum.stable_rank,
            spectrum.participation_ratio,
            spectrum.nuclear_rank,
            spectrum.condition,
            tails.join(", ")
        ),
        maps_table(&found.tiles),
    ];
    lines.extend(found.tiles.iter().filter_map(criteria_text));
    let advice = &found.recommendation;
    lines.push(format!(
        "-> tile {} at p = {}: {}",
        advice.tile, advice.power, advice.reason
    ));
    lines.extend(advice.notes.iter().map(|note| format!("   {note}")));
    lines.push(format!(
        "   coarse = {} would hold {:.0} % of the nuclear norm",
        found.coarse_rank,
        100.0 * share
    ));
    lines.push(format!(
        "   measured in {:.2} s with about {:.0} MB",
        found.seconds,
        found.memory_bytes as f64 / 1e6
    ));
    lines.join("\n")
}

fn maps_table(tiles: &[TileDiagnosis]) -> String {
    let mut rows = Vec::new();
    for (tile, map) in tiles
        .iter()
        .flat_map(|tile| tile.maps.iter().map(move |map| (tile, map)))
    {
        let error = map.cosine.standard_error;
        rows.push(vec![
            tile.tile.clone(),
            map.power.clone(),
            format!("{:.3}", map.cosine.value),
            error.map_or_else(|| "-".to_owned(), |error| format!("{error:.3}")),
            map.orthogonality_error
                .map_or_else(|| "-".to_owned(), |error| format!("{error:.3}")),
            format!("{:.2}", map.spectral_norm),
            format!("{:.2}", map.spectral_norm / map.full_spectral_norm),
            format!("{:.2e}", map.operations as f64),
            map.workspace_bytes.to_string(),
        ]);
    }
    let header = [
        "tile",
        "p",
        "cosine",
        "+-",
        "orthogonality error",
        "spectral norm",
        "Muon = 1",
        "operations",
        "workspace",
    ];
    table(&header, &rows)
}

/// Which of MiMuon's criteria would leave tiles alone; none where all would be orthogonalised.
fn criteria_text(tile: &TileDiagnosis) -> Option<String> {
    let counts = tile
        .statistics
        .criteria
        .iter()
        .filter(|count| count.left_alone > 0);
    let texts: Vec<String> = counts
        .map(|count| {
            format!(
                "{}({}) {}",
                count.measure, count.threshold, count.left_alone
            )
        })
        .collect();
    let statistics = &tile.statistics;
    (!texts.is_empty()).then(|| {
        format!(
            "tile {}: left alone by {} of {} tiles measured ({} in all)",
            tile.tile,
            texts.join(", by "),
            statistics.measured,
            statistics.tiles
        )
    })
}
