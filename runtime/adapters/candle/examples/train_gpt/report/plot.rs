//! Validation loss by step and by time.

use crate::record::{CurvePoint, RunRecord};
use crate::settings::OptimizerKind;
use anyhow::{Result, anyhow};
use plotters::prelude::*;

const SIZE: (u32, u32) = (1100, 440);

fn color(optimizer: OptimizerKind) -> RGBColor {
    match optimizer {
        OptimizerKind::HiMuon => RGBColor(0xd5, 0x5e, 0x00),
        OptimizerKind::Muon => RGBColor(0x00, 0x72, 0xb2),
        OptimizerKind::AdamW => RGBColor(0x00, 0x9e, 0x73),
    }
}

/// Two panels: by step, and by seconds of training.
pub(crate) fn svg(records: &[RunRecord]) -> Result<String> {
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
        area.fill(&WHITE).map_err(failed)?;
        let panels = area.split_evenly((1, 2));
        panel(&panels[0], records, "training step", |point| {
            point.step as f64
        })?;
        panel(&panels[1], records, "seconds of training", |point| {
            point.seconds
        })?;
        area.present().map_err(failed)?;
    }
    Ok(text)
}

fn failed(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("the plot cannot be drawn: {error}")
}

type Panel<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn panel(
    area: &Panel<'_>,
    records: &[RunRecord],
    axis: &str,
    abscissa: fn(&CurvePoint) -> f64,
) -> Result<()> {
    let points = || records.iter().flat_map(|record| &record.curve);
    let last = points().map(abscissa).fold(0.0, f64::max).max(1e-9);
    // The first validation is that of the untrained model: it would flatten the rest of the picture.
    let trained = || {
        points()
            .filter(|point| point.step > 0)
            .map(|point| point.validation_loss)
    };
    let low = trained().fold(f64::INFINITY, f64::min);
    let high = trained().fold(f64::NEG_INFINITY, f64::max);
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
    for kind in OptimizerKind::ALL {
        let runs = records
            .iter()
            .filter(|record| record.settings.optimizer == kind);
        for (index, record) in runs.enumerate() {
            let line = record
                .curve
                .iter()
                .filter(|point| point.step > 0)
                .map(|point| (abscissa(point), point.validation_loss));
            let style = color(kind).stroke_width(2);
            let series = chart
                .draw_series(LineSeries::new(line, style).point_size(3))
                .map_err(failed)?;
            if index == 0 {
                series
                    .label(kind.title())
                    .legend(move |(x, y)| PathElement::new([(x, y), (x + 22, y)], style));
            }
        }
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.85))
        .border_style(BLACK.mix(0.3))
        .label_font(("sans-serif", 15))
        .draw()
        .map_err(failed)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::invented_records;
    use super::*;

    #[test]
    fn every_optimizer_and_both_axes_are_named() -> Result<()> {
        let text = svg(&invented_records())?;
        for name in [
            "HiMuon",
            "Muon",
            "AdamW",
            "training step",
            "seconds of training",
            "nats a byte",
        ] {
            assert!(text.contains(name), "{name}");
        }
        Ok(())
    }

    #[test]
    fn a_run_without_a_trained_point_is_drawn() -> Result<()> {
        let mut records = invented_records();
        for record in &mut records {
            record.curve.truncate(1);
        }
        assert!(svg(&records)?.contains("training step"));
        Ok(())
    }
}
