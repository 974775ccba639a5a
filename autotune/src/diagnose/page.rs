//! The report: everything in one HTML file, nothing loaded from elsewhere.

use super::error::DiagnosisError;
use super::{DiagnosedFile, DiagnosedMatrix, plot};
use himuon::diagnose::Method;
use std::fmt::Write;

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:1140px;margin:2rem auto;padding:0 1rem;color:#222}\
table{border-collapse:collapse;font-variant-numeric:tabular-nums}th,td{padding:.25rem .6rem;text-align:right;\
border-bottom:1px solid #ddd}th:first-child,td:first-child{text-align:left}figure{display:flex;flex-wrap:wrap;gap:1rem;\
margin:1rem 0}svg{max-width:100%;height:auto}details{margin-top:1rem}";

/// The report of a file.
///
/// # Errors
/// [`DiagnosisError::Plot`].
pub fn html(title: &str, found: &DiagnosedFile) -> Result<String, DiagnosisError> {
    let mut page =
        String::from("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">");
    page.push_str("<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">");
    let _ = writeln!(
        page,
        "<title>{title}</title><style>{STYLE}</style></head><body>\n<h1>What tiling does to {title}</h1>",
        title = escaped(title)
    );
    page.push_str(
        "<p>Cosine: between the tiled update and that of the whole matrix, of one specification. \
         A tile is a local map, not an approximation: the loss decides.</p>\n",
    );
    for matrix in &found.matrices {
        section(&mut page, matrix)?;
    }
    if !found.skipped.is_empty() {
        page.push_str("<h2>Not measured</h2><ul>\n");
        for skipped in &found.skipped {
            let text = format!("{} {:?}: {}", skipped.name, skipped.shape, skipped.why);
            let _ = writeln!(page, "<li>{}</li>", escaped(&text));
        }
        page.push_str("</ul>\n");
    }
    page.push_str("</body></html>\n");
    Ok(page)
}

fn section(page: &mut String, matrix: &DiagnosedMatrix) -> Result<(), DiagnosisError> {
    let found = &matrix.diagnosis;
    let spectrum = &found.spectrum;
    let _ = writeln!(
        page,
        "<h2>{}, {} x {}</h2>",
        escaped(&matrix.name),
        found.rows,
        found.columns
    );
    let advice = &found.recommendation;
    let _ = writeln!(
        page,
        "<p><b>Tile {}</b> at p = {}: {}.</p>",
        escaped(&advice.tile),
        escaped(&advice.power),
        escaped(&advice.reason)
    );
    for note in &advice.notes {
        let _ = writeln!(page, "<p>{}.</p>", escaped(note));
    }
    let _ = writeln!(
        page,
        "<p>Norm {:.4e}, stable rank {:.1}, participation ratio {:.1}, nuclear rank {:.1}, condition {:.2e}; {}.</p>",
        found.norm,
        spectrum.stable_rank,
        spectrum.participation_ratio,
        spectrum.nuclear_rank,
        spectrum.condition,
        method_text(found.method)
    );
    let _ = write!(
        page,
        "<figure>{}{}",
        bare(&plot::spectrum(found)?),
        bare(&plot::cosines(found)?)
    );
    if let Some(tile) = plot::shown(found) {
        page.push_str(&bare(&plot::norms(tile)?));
        page.push_str(&bare(&plot::conditions(tile)?));
    }
    page.push_str("</figure>\n");
    maps(page, matrix);
    Ok(())
}

fn maps(page: &mut String, matrix: &DiagnosedMatrix) {
    page.push_str(
        "<table><tr><th>tile</th><th>p</th><th>cosine</th><th>orthogonality error</th><th>spectral norm, Muon = 1</th>\
         <th>operations</th><th>workspace, bytes</th></tr>\n",
    );
    for tile in &matrix.diagnosis.tiles {
        for map in &tile.maps {
            let error = map
                .cosine
                .standard_error
                .map_or(String::new(), |e| format!(" ± {e:.3}"));
            let orthogonality = map
                .orthogonality_error
                .map_or("-".to_owned(), |e| format!("{e:.3}"));
            let _ = writeln!(
                page,
                "<tr><td>{}</td><td>{}</td><td>{:.3}{error}</td><td>{orthogonality}</td><td>{:.2}</td><td>{:.2e}</td><td>{}</td></tr>",
                escaped(&tile.tile),
                escaped(&map.power),
                map.cosine.value,
                map.spectral_norm / map.full_spectral_norm,
                map.operations as f64,
                map.workspace_bytes
            );
        }
    }
    page.push_str("</table>\n<details><summary>MiMuon's criteria: tiles left alone</summary><table><tr><th>tile</th>");
    page.push_str("<th>criterion</th><th>left alone</th><th>measured</th><th>tiles</th></tr>\n");
    for tile in &matrix.diagnosis.tiles {
        for count in &tile.statistics.criteria {
            let _ = writeln!(
                page,
                "<tr><td>{}</td><td>{}({})</td><td>{}</td><td>{}</td><td>{}</td></tr>",
                escaped(&tile.tile),
                count.measure,
                count.threshold,
                count.left_alone,
                tile.statistics.measured,
                tile.statistics.tiles
            );
        }
    }
    page.push_str("</table></details>\n");
}

/// How a matrix was measured, in words.
pub(crate) fn method_text(method: Method) -> String {
    match method {
        Method::Exact => "from all singular values".to_owned(),
        Method::Sampled {
            vectors,
            steps,
            limit,
        } => format!(
            "larger than {limit}: spectrum and cosines sampled with {vectors} random vectors of {steps} Lanczos steps"
        ),
    }
}

/// The picture without the head of an SVG file.
fn bare(svg: &str) -> String {
    svg.find("<svg")
        .map_or(svg, |start| &svg[start..])
        .to_owned()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
