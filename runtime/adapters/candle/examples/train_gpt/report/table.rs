//! The table, for the terminal and for the page.

use super::summary::Summary;

/// Texts of all cells; the first row is the header.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

const HEADER: [&str; 9] = [
    "optimizer",
    "learning rate",
    "validation loss",
    "optimizer, ms/step",
    "whole step, ms",
    "operations, Muon = 1",
    "time, Muon = 1",
    "state",
    "workspace",
];

impl Table {
    /// One row an optimizer.
    pub(crate) fn of(summary: &[Summary]) -> Self {
        let mut rows = vec![HEADER.iter().map(|text| (*text).to_owned()).collect()];
        rows.extend(summary.iter().map(cells));
        Self { rows }
    }

    /// Columns padded with blanks.
    pub(crate) fn text(&self) -> String {
        let width = |column: usize| {
            self.rows
                .iter()
                .map(|row| row[column].chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..HEADER.len()).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let padding = " ".repeat(width - cell.chars().count());
                let gap = if column == 0 { "" } else { "  " };
                line.push_str(gap);
                line.push_str(&if column == 0 {
                    format!("{cell}{padding}")
                } else {
                    format!("{padding}{cell}")
                });
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }

    /// A table in Markdown, as the documentation quotes it.
    pub(crate) fn markdown(&self) -> String {
        let mut text = String::new();
        for (index, row) in self.rows.iter().enumerate() {
            text.push_str(&format!("| {} |\n", row.join(" | ")));
            if index == 0 {
                text.push_str(&format!("|---|{}\n", "---:|".repeat(row.len() - 1)));
            }
        }
        text
    }

    /// The rows, header first.
    pub(crate) fn rows(&self) -> &[Vec<String>] {
        &self.rows
    }
}

fn cells(row: &Summary) -> Vec<String> {
    let loss = match row.validation_loss_deviation {
        Some(deviation) => format!("{:.3} ± {deviation:.3}", row.validation_loss),
        None => format!("{:.3}", row.validation_loss),
    };
    vec![
        row.optimizer.title().to_owned(),
        row.learning_rate.to_string(),
        loss,
        format!("{:.1}", row.optimizer_seconds * 1e3),
        format!("{:.0}", row.step_seconds * 1e3),
        fraction(row.operations_below_muon),
        fraction(row.time_below_muon),
        mebibytes(row.state_bytes),
        mebibytes(row.workspace_bytes),
    ]
}

/// `1/4.5` for a quarter and less, so that ratios of operations and of times stand side by side.
fn fraction(times_below: Option<f64>) -> String {
    match times_below {
        Some(times) if times > 1.005 => format!("1/{times:.1}"),
        Some(times) if times > 0.0 => format!("{:.2}", 1.0 / times),
        _ => "-".to_owned(),
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::super::tests::invented_records;
    use super::*;

    #[test]
    fn the_text_lines_up() {
        let text = Table::of(&Summary::of_runs(&invented_records())).text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4);
        assert!(lines[1].starts_with("HiMuon"), "{text}");
        assert!(
            lines[1].contains("1/4.5") && lines[1].contains("1/4.0"),
            "{text}"
        );
        let column = lines[0].find("operations").unwrap_or(0);
        assert!(lines[1].len() > column, "{text}");
    }

    #[test]
    fn markdown_has_one_line_a_row_and_one_rule() {
        let text = Table::of(&Summary::of_runs(&invented_records())).markdown();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 5);
        for line in &lines {
            assert_eq!(line.matches('|').count(), HEADER.len() + 1, "{line}");
        }
    }

    #[test]
    fn ratios_read_as_fractions_of_muon() {
        assert_eq!(fraction(Some(4.5)), "1/4.5");
        assert_eq!(fraction(Some(1.0)), "1.00");
        assert_eq!(fraction(Some(0.5)), "2.00");
        assert_eq!(fraction(None), "-");
    }
}
