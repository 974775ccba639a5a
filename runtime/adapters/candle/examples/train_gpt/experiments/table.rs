//! An experiment as a table.

use super::statistics::interval;
use super::{Figure, FinishedRow};
use crate::args::Args;
use crate::settings::RunSettings;
use std::fmt::Write;

/// What was run, in words.
pub(super) fn head(name: &str, args: &Args, settings: &RunSettings) -> String {
    let model = &settings.model;
    format!(
        "`train_gpt --experiment {name} --layers {} --width {} --heads {} --context {} --batch {} --steps {} --seeds {}`: \
         means over seeds with their 95 % confidence intervals (Student's t).",
        model.layers, model.width, model.heads, model.context, args.batch, args.steps, args.seeds
    )
}

/// The values of a column, by run.
pub(super) fn column(row: &FinishedRow, place: usize) -> Vec<f64> {
    let figures = row.runs.iter().filter_map(|run| run.figures.get(place));
    figures.filter_map(|figure| figure.1).collect()
}

/// The names of the columns.
pub(super) fn names(rows: &[FinishedRow]) -> Vec<String> {
    let first = rows.iter().find_map(|row| row.runs.first());
    first.map_or_else(Vec::new, |run| {
        run.figures.iter().map(|figure| figure.0.clone()).collect()
    })
}

/// One line a row.
pub(super) fn markdown(rows: &[FinishedRow]) -> String {
    let names = names(rows);
    let mut text = String::from("| row | learning rate | seeds |");
    for name in &names {
        let _ = write!(text, " {name} |");
    }
    text.push_str(" seconds a run |\n|---|---:|---:|");
    text.push_str(&"---:|".repeat(names.len() + 1));
    text.push('\n');
    for row in rows.iter().filter(|row| !row.runs.is_empty()) {
        let _ = write!(
            text,
            "| {} | {} | {} |",
            row.key,
            row.learning_rate,
            row.runs.len()
        );
        for place in 0..names.len() {
            let _ = write!(text, " {} |", value_text(&column(row, place)));
        }
        let seconds: Vec<f64> = row.runs.iter().map(|run| run.seconds).collect();
        let _ = writeln!(text, " {:.0} |", interval(&seconds).0);
    }
    text
}

fn value_text(values: &[f64]) -> String {
    if values.is_empty() {
        return "-".to_owned();
    }
    match interval(values) {
        (mean, Some(half)) => format!("{mean:.3} ± {half:.3}"),
        (mean, None) => format!("{mean:.3}"),
    }
}

/// The figures of one run.
pub(super) fn figures_text(figures: &[Figure]) -> String {
    let texts: Vec<String> = figures
        .iter()
        .filter_map(|(name, value)| Some(format!("{name} {:.4}", (*value)?)))
        .collect();
    texts.join(", ")
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::{Outcome, figure};
    use super::*;

    /// Two rows of two seeds.
    pub(crate) fn invented() -> Vec<FinishedRow> {
        let run = |seed, loss| Outcome {
            seed,
            figures: vec![
                figure("validation loss", loss),
                figure("gap", 0.1),
                figure("bound", f64::INFINITY),
            ],
            seconds: 2.0,
        };
        ["T = 16", "full"]
            .map(|key| FinishedRow {
                key: key.into(),
                learning_rate: 0.01,
                runs: vec![run(0, 2.0), run(1, 2.2)],
            })
            .to_vec()
    }

    #[test]
    fn a_row_has_its_means_and_intervals() {
        let text = markdown(&invented());
        assert!(
            text.contains("| T = 16 | 0.01 | 2 | 2.100 ± 1.271 | 0.100 ± 0.000 | - | 2 |"),
            "{text}"
        );
        assert_eq!(text.lines().count(), 4);
    }
}
