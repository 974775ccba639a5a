//! Loss over steps and over time in the optimizer.

use super::report::{Finished, FinishedRow};
use crate::record::CurvePoint;
use anyhow::{Result, anyhow};
use plotters::prelude::*;

const SIZE: (u32, u32) = (1100, 460);

/// The rows that are drawn, with their colours: the others are in the table.
const DRAWN: [(&str, RGBColor); 8] = [
    ("adamw", RGBColor(0x00, 0x9e, 0x73)),
    ("t16", RGBColor(0xcc, 0x79, 0xa7)),
    ("t64", RGBColor(0xe6, 0x9f, 0x00)),
    ("muon", RGBColor(0x00, 0x72, 0xb2)),
    ("muon-mu0.9", RGBColor(0x33, 0x33, 0x33)),
    ("t16-r32-fused-x0.5-cmu0.8", RGBColor(0x99, 0x99, 0x99)),
    ("t32-r32-fused-x0.5-cmu0.8", RGBColor(0x56, 0xb4, 0xe9)),
    ("t64-r32-fused-x0.5-cmu0.8", RGBColor(0xd5, 0x5e, 0x00)),
];

/// The validation curve of one run.
struct Curve {
    key: &'static str,
    color: RGBColor,
    points: Vec<(f64, f64)>,
}

type Panel<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

/// Two panels: validation loss by step, and by time in the optimizer where it was measured.
pub(super) fn svg(finished: &Finished) -> Result<String> {
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
        area.fill(&WHITE).map_err(failed)?;
        let panels = area.split_evenly((1, 2));
        let by_step = |_: &FinishedRow, point: &CurvePoint| Some(point.step as f64);
        panel(&panels[0], finished, "training step", by_step)?;
        let by_time = |row: &FinishedRow, point: &CurvePoint| {
            let times = finished.times.get(&row.key)?;
            Some(point.step as f64 * times.optimizer)
        };
        panel(&panels[1], finished, "seconds in the optimizer", by_time)?;
        area.present().map_err(failed)?;
    }
    Ok(text)
}

fn failed(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("the plot cannot be drawn: {error}")
}

fn panel(
    area: &Panel<'_>,
    finished: &Finished,
    axis: &str,
    abscissa: impl Fn(&FinishedRow, &CurvePoint) -> Option<f64>,
) -> Result<()> {
    let mut lines = Vec::new();
    for (key, color) in DRAWN {
        let row = finished.rows.iter().find(|row| row.key == key);
        for (row, run) in row
            .into_iter()
            .flat_map(|row| row.runs.iter().map(move |run| (row, run)))
        {
            let trained = run.curve.iter().filter(|point| point.step > 0);
            let points = trained
                .filter_map(|point| Some((abscissa(row, point)?, point.validation_loss)))
                .collect();
            lines.push(Curve { key, color, points });
        }
    }
    let points = || lines.iter().flat_map(|line| &line.points);
    let last = points().map(|point| point.0).fold(1e-9, f64::max);
    let low = points().map(|point| point.1).fold(f64::INFINITY, f64::min);
    let high = points()
        .map(|point| point.1)
        .fold(f64::NEG_INFINITY, f64::max);
    let (low, high) = if low <= high { (low, high) } else { (0.0, 6.0) };
    let margin = 0.05 * (high - low).max(0.1);
    let mut chart = ChartBuilder::on(area)
        .margin(14)
        .x_label_area_size(42)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..last * 1.02, low - margin..high + margin)
        .map_err(failed)?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_desc(axis)
        .y_desc("validation loss, nats a byte")
        .label_style(("sans-serif", 14))
        .draw()
        .map_err(failed)?;
    let mut named = "";
    for Curve { key, color, points } in lines {
        let style = color.stroke_width(2);
        let series = chart
            .draw_series(LineSeries::new(points, style))
            .map_err(failed)?;
        if key != named {
            series
                .label(key)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 22, y)], style));
        }
        named = key;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.85))
        .border_style(BLACK.mix(0.3))
        .label_font(("sans-serif", 14))
        .draw()
        .map_err(failed)?;
    Ok(())
}
