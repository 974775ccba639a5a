//! Samples to the target against the batch.

use super::batch::BatchSeries;
use super::error::DiagnosisError;
use super::plot::{COLOURS, failed};
use plotters::prelude::*;

const SIZE: (u32, u32) = (860, 480);
/// Points of a fitted curve.
const POINTS: i32 = 200;

/// The measured runs, the fitted curve and b* of every series.
///
/// # Errors
/// [`DiagnosisError::Plot`].
pub fn batch_svg(series: &[BatchSeries]) -> Result<String, DiagnosisError> {
    let runs = || series.iter().flat_map(|series| &series.runs);
    let range = |values: &dyn Fn() -> Vec<f64>| {
        let values = values();
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = values.iter().copied().fold(0.0, f64::max);
        if low.is_finite() {
            (0.8 * low, 1.25 * high)
        } else {
            (1.0, 10.0)
        }
    };
    let (left, right) = range(&|| runs().map(|run| run.batch).collect());
    let (low, high) = range(&|| runs().map(|run| run.batch * run.steps).collect());
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
        area.fill(&WHITE).map_err(failed)?;
        let mut chart = ChartBuilder::on(&area)
            .margin(14)
            .x_label_area_size(42)
            .y_label_area_size(80)
            .build_cartesian_2d((left..right).log_scale(), (low..high).log_scale())
            .map_err(failed)?;
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .x_desc("samples of a step")
            .y_desc("samples to the target")
            .y_label_formatter(&|value| format!("{value:.1e}"))
            .draw()
            .map_err(failed)?;
        for (index, series) in series.iter().enumerate() {
            let colour = COLOURS[index % COLOURS.len()];
            let points = series
                .runs
                .iter()
                .map(|run| (run.batch, run.batch * run.steps));
            chart
                .draw_series(points.map(|point| Circle::new(point, 4, colour.filled())))
                .map_err(failed)?
                .label(label(series))
                .legend(move |(x, y)| Circle::new((x + 10, y), 4, colour.filled()));
            let Some(fit) = &series.fit else { continue };
            let curve = (0..=POINTS).map(|point| {
                let batch = left * (right / left).powf(f64::from(point) / f64::from(POINTS));
                (batch, fit.samples(batch))
            });
            let inside = curve.filter(|(_, samples)| (low..=high).contains(samples));
            chart
                .draw_series(LineSeries::new(inside, colour.stroke_width(2)))
                .map_err(failed)?;
            let best = (fit.batch, fit.samples(fit.batch));
            if (left..=right).contains(&best.0) && (low..=high).contains(&best.1) {
                chart
                    .draw_series([TriangleMarker::new(best, 9, colour.filled())])
                    .map_err(failed)?;
            }
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.85))
            .border_style(BLACK.mix(0.3))
            .draw()
            .map_err(failed)?;
        area.present().map_err(failed)?;
    }
    Ok(text)
}

fn label(series: &BatchSeries) -> String {
    let name = if series.variant.is_empty() {
        "runs"
    } else {
        &series.variant
    };
    match &series.fit {
        Some(fit) => format!(
            "{name}: b* = {:.0} ({:.0} to {:.0})",
            fit.batch, fit.interval.0, fit.interval.1
        ),
        None => format!("{name}: no fit"),
    }
}
