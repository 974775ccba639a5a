//! The drawings.

use super::{ReportError, Roofs, Sample};
use crate::advise::Point;
use plotters::coord::combinators::BindKeyPoints;
use plotters::prelude::*;
use std::ops::Range;

const SIZE: (u32, u32) = (960, 420);
const BLUE_ISH: RGBColor = RGBColor(38, 98, 174);
const GREY: RGBColor = RGBColor(150, 160, 172);
const RED_ISH: RGBColor = RGBColor(190, 66, 50);
/// Part of a tile's place that its variants share.
const WIDTH_OF_TILE: f64 = 0.8;
const FONT: (&str, u32) = ("sans-serif", 14);

fn failed(error: impl std::fmt::Display) -> ReportError {
    ReportError(error.to_string())
}

/// A range of positive numbers with room at both ends of a logarithmic axis.
fn around(values: impl Iterator<Item = f64>) -> Range<f64> {
    let positive = values.filter(|value| value.is_finite() && *value > 0.0);
    let (low, high) = positive.fold((f64::INFINITY, 0.0f64), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    match low.is_finite() {
        true => low / 1.5..high * 1.5,
        false => 0.1..10.0,
    }
}

/// 1, 2 and 5 times powers of ten inside a range: few enough to be read, whatever the range.
fn ticks(range: &Range<f64>) -> Vec<f64> {
    let decades = range.start.log10().floor() as i32..=range.end.log10().ceil() as i32;
    let steps = decades.flat_map(|decade| [1.0, 2.0, 5.0].map(|step| step * 10f64.powi(decade)));
    steps.filter(|tick| range.contains(tick)).collect()
}

/// A tick without the rounding errors of its power of ten.
fn tick_text(tick: &f64) -> String {
    let text = format!("{tick:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Tiles in the order of their size: as many digits first, then by the digits.
fn tiles(samples: &[Sample]) -> Vec<String> {
    let mut tiles: Vec<String> = samples.iter().map(|sample| sample.tile.clone()).collect();
    let key = |tile: &String| {
        let edges = tile.split('x').map(str::parse::<u64>);
        let area: Option<u64> = edges.map(Result::ok).product();
        (area.unwrap_or(u64::MAX), tile.clone())
    };
    tiles.sort_by_key(key);
    tiles.dedup();
    tiles
}

/// Milliseconds by tile; the variants of a tile side by side, the fastest first.
pub(super) fn times(samples: &[Sample]) -> Result<String, ReportError> {
    let tiles = tiles(samples);
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let range = around(samples.iter().map(|sample| 1e3 * sample.seconds));
        let mut chart = ChartBuilder::on(&root)
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(70)
            .build_cartesian_2d(
                -0.5..tiles.len() as f64 - 0.5,
                range.clone().log_scale().with_key_points(ticks(&range)),
            )
            .map_err(failed)?;
        let name = |place: &f64| {
            let whole = place.round();
            let near = (place - whole).abs() < 0.01 && whole >= 0.0;
            let tile = near.then(|| tiles.get(whole as usize)).flatten();
            tile.cloned().unwrap_or_default()
        };
        chart
            .configure_mesh()
            .disable_x_mesh()
            .x_labels(2 * tiles.len() + 1)
            .x_label_formatter(&name)
            .x_desc("tile")
            .y_desc("ms")
            .y_label_formatter(&tick_text)
            .label_style(FONT)
            .draw()
            .map_err(failed)?;
        let place = |sample: &Sample| {
            let tile = tiles.iter().position(|tile| *tile == sample.tile);
            let rivals = samples.iter().filter(|other| other.tile == sample.tile);
            let faster = rivals
                .clone()
                .filter(|other| other.seconds < sample.seconds);
            let part = (faster.count() as f64 + 0.5) / rivals.count() as f64;
            let shift = WIDTH_OF_TILE * (part - 0.5);
            (tile.unwrap_or(0) as f64 + shift, 1e3 * sample.seconds)
        };
        let others = samples.iter().filter(|sample| !sample.winner);
        chart
            .draw_series(others.map(|sample| Circle::new(place(sample), 4, GREY)))
            .map_err(failed)?;
        let winners = samples.iter().filter(|sample| sample.winner);
        chart
            .draw_series(winners.map(|sample| Circle::new(place(sample), 5, BLUE_ISH.filled())))
            .map_err(failed)?;
        root.present().map_err(failed)?;
    }
    Ok(svg)
}

/// A chart with two logarithmic axes.
fn logarithmic(
    axes: (&str, &str),
    ranges: (Range<f64>, Range<f64>),
    points: &[(f64, f64, String, RGBColor)],
    lines: &[Vec<(f64, f64)>],
) -> Result<String, ReportError> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let mut chart = ChartBuilder::on(&root)
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(70)
            .build_cartesian_2d(
                ranges
                    .0
                    .clone()
                    .log_scale()
                    .with_key_points(ticks(&ranges.0)),
                ranges
                    .1
                    .clone()
                    .log_scale()
                    .with_key_points(ticks(&ranges.1)),
            )
            .map_err(failed)?;
        chart
            .configure_mesh()
            .x_desc(axes.0)
            .y_desc(axes.1)
            .x_label_formatter(&tick_text)
            .y_label_formatter(&tick_text)
            .label_style(FONT)
            .draw()
            .map_err(failed)?;
        for line in lines {
            chart
                .draw_series(LineSeries::new(line.iter().copied(), RED_ISH))
                .map_err(failed)?;
        }
        chart
            .draw_series(
                points
                    .iter()
                    .map(|(x, y, _, colour)| Circle::new((*x, *y), 4, colour.filled())),
            )
            .map_err(failed)?;
        let labelled = points.iter().filter(|(.., label, _)| !label.is_empty());
        chart
            .draw_series(labelled.map(|(x, y, label, _)| {
                EmptyElement::at((*x, *y)) + Text::new(label.clone(), (7, -7), FONT)
            }))
            .map_err(failed)?;
        root.present().map_err(failed)?;
    }
    Ok(svg)
}

/// GFLOP/s over operations a byte, below the two roofs.
pub(super) fn roofline(samples: &[Sample], roofs: Roofs) -> Result<String, ReportError> {
    let points: Vec<_> = samples
        .iter()
        .filter(|sample| sample.winner && sample.work.0 > 0.0)
        .map(|sample| {
            let (operations, bytes) = sample.work;
            (
                operations / bytes,
                1e-9 * operations / sample.seconds,
                sample.tile.clone(),
                BLUE_ISH,
            )
        })
        .collect();
    let ridge = roofs.peak / roofs.bandwidth;
    let x = around(points.iter().map(|point| point.0).chain([ridge]));
    let roof = |x: f64| 1e-9 * (x * roofs.bandwidth).min(roofs.peak);
    let lines = vec![vec![
        (x.start, roof(x.start)),
        (ridge, roof(ridge)),
        (x.end, roof(x.end)),
    ]];
    let y = around(
        points
            .iter()
            .map(|point| point.1)
            .chain([roof(x.start), roof(x.end)]),
    );
    logarithmic(("operations a byte", "GFLOP/s"), (x, y), &points, &lines)
}

/// The model's time against the measured one; the line is where they agree.
pub(super) fn predicted(samples: &[Sample]) -> Result<String, ReportError> {
    let points: Vec<_> = samples
        .iter()
        .filter(|sample| sample.predicted > 0.0)
        .map(|sample| {
            let colour = if sample.winner { BLUE_ISH } else { GREY };
            let label = if sample.winner {
                sample.tile.clone()
            } else {
                String::new()
            };
            (1e3 * sample.predicted, 1e3 * sample.seconds, label, colour)
        })
        .collect();
    let both = around(points.iter().flat_map(|point| [point.0, point.1]));
    let line = vec![vec![(both.start, both.start), (both.end, both.end)]];
    logarithmic(
        ("predicted ms", "measured ms"),
        (both.clone(), both),
        &points,
        &line,
    )
}

/// Time against the distance from whole-matrix Muon; the front is blue and joined.
pub(super) fn pareto(points: &[Point]) -> Result<String, ReportError> {
    // Whole matrices are at distance zero, which a logarithmic axis does not have.
    let distance = |point: &Point| (1.0 - point.closeness).max(1e-4);
    let drawn: Vec<_> = points
        .iter()
        .map(|point| {
            let colour = if point.on_front { BLUE_ISH } else { GREY };
            let tile = point.spec.tile.to_string();
            (1e3 * point.seconds, distance(point), tile, colour)
        })
        .collect();
    let mut joined: Vec<(f64, f64)> = points
        .iter()
        .filter(|point| point.on_front)
        .map(|point| (1e3 * point.seconds, distance(point)))
        .collect();
    joined.sort_by(|a, b| a.0.total_cmp(&b.0));
    logarithmic(
        ("ms", "1 - cosine with whole-matrix Muon"),
        (
            around(drawn.iter().map(|point| point.0)),
            around(drawn.iter().map(|point| point.1)),
        ),
        &drawn,
        &[joined],
    )
}
