//! The first figure of every row: its runs, their mean, and its confidence interval.

use super::FinishedRow;
use super::statistics::interval;
use super::table::{column, names};
use anyhow::{Result, anyhow};
use plotters::prelude::*;

const WIDTH: u32 = 900;
const ROW_HEIGHT: u32 = 26;
const BLUE_LINE: RGBColor = RGBColor(0x00, 0x72, 0xb2);

/// One line a row, the first at the top.
pub(super) fn svg(rows: &[FinishedRow]) -> Result<String> {
    let rows: Vec<&FinishedRow> = rows.iter().filter(|row| !row.runs.is_empty()).collect();
    let values = || rows.iter().flat_map(|row| column(row, 0));
    let (low, high) = (
        values().fold(f64::INFINITY, f64::min),
        values().fold(f64::NEG_INFINITY, f64::max),
    );
    let (low, high) = if low <= high { (low, high) } else { (0.0, 1.0) };
    let margin = 0.15 * (high - low).max(1e-3);
    let owned: Vec<FinishedRow> = rows.iter().map(|row| (*row).clone()).collect();
    let title = names(&owned).first().cloned().unwrap_or_default();
    let count = rows.len().max(1);
    let mut text = String::new();
    {
        let size = (WIDTH, 70 + ROW_HEIGHT * count as u32);
        let area = SVGBackend::with_string(&mut text, size).into_drawing_area();
        area.fill(&WHITE).map_err(failed)?;
        let mut chart = ChartBuilder::on(&area)
            .margin(12)
            .x_label_area_size(40)
            .y_label_area_size(190)
            .build_cartesian_2d(low - margin..high + margin, -0.5..count as f64 - 0.5)
            .map_err(failed)?;
        let key = |place: &f64| {
            let whole = place.round();
            let near = (place - whole).abs() < 1e-6 && whole >= 0.0;
            let row = near
                .then(|| rows.get(count - 1 - (whole as usize).min(count - 1)))
                .flatten();
            row.map_or_else(String::new, |row| row.key.clone())
        };
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .y_labels(2 * count + 1)
            .y_label_formatter(&key)
            .x_desc(title)
            .draw()
            .map_err(failed)?;
        for (index, row) in rows.iter().enumerate() {
            let place = (count - 1 - index) as f64;
            let values = column(row, 0);
            let (mean, half) = interval(&values);
            let half = half.unwrap_or(0.0);
            let line = [(mean - half, place), (mean + half, place)];
            chart
                .draw_series([PathElement::new(line, BLUE_LINE.stroke_width(2))])
                .map_err(failed)?;
            chart
                .draw_series([Circle::new((mean, place), 4, BLUE_LINE.filled())])
                .map_err(failed)?;
            let runs = values
                .iter()
                .map(|value| Circle::new((*value, place), 3, BLACK.mix(0.5)));
            chart.draw_series(runs).map_err(failed)?;
        }
        area.present().map_err(failed)?;
    }
    Ok(text)
}

fn failed(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("the plot cannot be drawn: {error}")
}

#[cfg(test)]
mod tests {
    use super::super::table::tests::invented;
    use super::*;

    #[test]
    fn every_row_is_named() -> Result<()> {
        let text = svg(&invented())?;
        for name in ["T = 16", "full", "validation loss"] {
            assert!(text.contains(name), "{name}");
        }
        svg(&[])?;
        Ok(())
    }
}
