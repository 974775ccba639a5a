//! The page: everything in one HTML file, nothing loaded from elsewhere.

use super::table::Table;
use crate::record::RunRecord;
use std::fmt::Write;

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:1120px;margin:2rem auto;padding:0 1rem;color:#222}\
table{border-collapse:collapse;font-variant-numeric:tabular-nums}th,td{padding:.35rem .7rem;text-align:right;\
border-bottom:1px solid #ddd}th:first-child,td:first-child{text-align:left}svg{max-width:100%;height:auto}\
details{margin-top:1rem}";

/// The page of a comparison.
pub(crate) fn html(records: &[RunRecord], table: &Table, notes: &[String], plot: &str) -> String {
    let mut page =
        String::from("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">");
    page.push_str("<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>HiMuon, Muon, AdamW</title>");
    let _ = write!(
        page,
        "<style>{STYLE}</style></head><body>\n<h1>A byte-level GPT under HiMuon, Muon and AdamW</h1>\n"
    );
    page.push_str(&table_html(table));
    page.push_str("<p>HiMuon maps each tile of a matrix to nearly its orthogonal factor, Muon the whole matrix. \
                   Tiles cost a fraction of Muon's operations and lose a part of its progress per step.</p>\n");
    let svg = plot.find("<svg").map_or(plot, |start| &plot[start..]);
    let _ = writeln!(page, "<figure>{svg}</figure>");
    page.push_str("<ul>\n");
    for note in notes {
        let _ = writeln!(page, "<li>{}</li>", escaped(note));
    }
    page.push_str("</ul>\n");
    for record in records {
        page.push_str(&run_html(record));
    }
    page.push_str("</body></html>\n");
    page
}

fn table_html(table: &Table) -> String {
    let mut html = String::from("<table>\n");
    for (index, row) in table.rows().iter().enumerate() {
        let tag = if index == 0 { "th" } else { "td" };
        html.push_str("<tr>");
        for cell in row {
            let _ = write!(html, "<{tag}>{}</{tag}>", escaped(cell));
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</table>\n");
    html
}

/// The curve of one run as a folded table.
fn run_html(record: &RunRecord) -> String {
    let settings = &record.settings;
    let mut html = format!(
        "<details><summary>{}, seed {}</summary><table><tr><th>step</th><th>seconds</th><th>validation loss</th></tr>\n",
        settings.optimizer, settings.seed
    );
    for point in &record.curve {
        let _ = writeln!(
            html,
            "<tr><td>{}</td><td>{:.1}</td><td>{:.4}</td></tr>",
            point.step, point.seconds, point.validation_loss
        );
    }
    html.push_str("</table>");
    html.push_str(&probes_html(record));
    html.push_str("</details>\n");
    html
}

/// What the probe saw of the layers' tiles, and the noise scale of the gradients.
fn probes_html(record: &RunRecord) -> String {
    let mut html = String::new();
    if let Some(noise) = record.noise_scales.iter().rev().flatten().next() {
        let _ = writeln!(
            html,
            "<p>Noise scale of the gradients at the end: {noise:.1} sequences a step.</p>"
        );
    }
    if record.probes.is_empty() {
        return html;
    }
    html.push_str(
        "<table><tr><th>step</th><th>layer</th><th>tile</th><th>nuclear rank</th><th>defect</th><th>least norm</th>\
         <th>greatest norm</th><th>cosine to the whole map</th></tr>\n",
    );
    let number =
        |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"));
    for reading in &record.probes {
        let _ = writeln!(
            html,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{:.3}</td><td>{}</td><td>{:.2e}</td><td>{:.2e}</td><td>{}</td></tr>",
            reading.step,
            escaped(&reading.parameter),
            escaped(&reading.tile),
            reading.nuclear_rank,
            number(reading.defect),
            reading.norms.0,
            reading.norms.1,
            number(reading.whole_cosine)
        );
    }
    html.push_str("</table>");
    html
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::super::summary::Summary;
    use super::super::tests::invented_records;
    use super::*;

    #[test]
    fn the_page_stands_alone_and_escapes_text() {
        let records = invented_records();
        let notes = ["from a <text> & more".to_owned()];
        let page = html(
            &records,
            &Table::of(&Summary::of_runs(&records)),
            &notes,
            "<?xml?><svg></svg>",
        );
        assert!(page.contains("a &lt;text&gt; &amp; more"));
        assert!(!page.contains("<?xml"));
        assert!(page.contains("cosine to the whole map") && page.contains("blocks.0.&lt;up&gt;"));
        assert!(page.contains("12.5 sequences"));
        for outside in ["src=", "href=", "@import"] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert_eq!(page.matches("<details>").count(), records.len());
    }
}
