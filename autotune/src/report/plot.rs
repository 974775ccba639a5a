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

/// Round numbers inside a range, few enough to be read: 1, 2 and 5 times powers of ten, or all nine multiples where
/// the range is short.
fn ticks(range: &Range<f64>) -> Vec<f64> {
    const FEWEST: usize = 4;
    let inside = |steps: &[f64]| -> Vec<f64> {
        let decades = range.start.log10().floor() as i32..=range.end.log10().ceil() as i32;
        let all =
            decades.flat_map(|decade| steps.iter().map(move |step| step * 10f64.powi(decade)));
        all.filter(|tick| range.contains(tick)).collect()
    };
    let few = inside(&[1.0, 2.0, 5.0]);
    match few.len() < FEWEST {
        true => inside(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]),
        false => few,
    }
}

/// A tick without the rounding errors of its power of ten.
fn tick_text(tick: &f64) -> String {
    let text = format!("{tick:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The names of the entries in the order of their tiles' size.
fn names(samples: &[Sample]) -> Vec<String> {
    let mut entries: Vec<(&str, usize, &str)> = samples
        .iter()
        .map(|sample| (sample.tile.as_str(), sample.entry, sample.name.as_str()))
        .collect();
    let area = |tile: &str| {
        let edges = tile.split('x').map(str::parse::<u64>);
        let edges: Vec<u64> = edges.filter_map(Result::ok).collect();
        match *edges {
            [] => u64::MAX,
            [edge] => edge * edge,
            _ => edges.iter().product(),
        }
    };
    entries.sort_by_key(|&(tile, entry, _)| (area(tile), entry));
    entries.dedup();
    entries
        .iter()
        .map(|(_, _, name)| (*name).to_owned())
        .collect()
}

/// Milliseconds by entry; its variants side by side, the fastest first.
pub(super) fn times(samples: &[Sample]) -> Result<String, ReportError> {
    let names = names(samples);
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let range = around(samples.iter().map(|sample| 1e3 * sample.seconds));
        let mut chart = ChartBuilder::on(&root)
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(70)
            .build_cartesian_2d(
                -0.5..names.len() as f64 - 0.5,
                range.clone().log_scale().with_key_points(ticks(&range)),
            )
            .map_err(failed)?;
        let name = |place: &f64| {
            let whole = place.round();
            let near = (place - whole).abs() < 0.01 && whole >= 0.0;
            let name = near.then(|| names.get(whole as usize)).flatten();
            name.cloned().unwrap_or_default()
        };
        chart
            .configure_mesh()
            .disable_x_mesh()
            .x_labels(2 * names.len() + 1)
            .x_label_formatter(&name)
            .x_desc("tile")
            .y_desc("ms")
            .y_label_formatter(&tick_text)
            .label_style(FONT)
            .draw()
            .map_err(failed)?;
        let place = |sample: &Sample| {
            let column = names.iter().position(|name| *name == sample.name);
            let rivals = samples.iter().filter(|other| other.name == sample.name);
            let faster = rivals
                .clone()
                .filter(|other| other.seconds < sample.seconds);
            let part = (faster.count() as f64 + 0.5) / rivals.count() as f64;
            let shift = WIDTH_OF_TILE * (part - 0.5);
            (column.unwrap_or(0) as f64 + shift, 1e3 * sample.seconds)
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

/// How far below its point each label begins, so that those of close points do not cover each other. Nothing for a
/// point without a label.
fn label_offsets(
    points: &[(f64, f64, String, RGBColor)],
    (x, y): (&Range<f64>, &Range<f64>),
) -> Vec<i32> {
    const CHARACTER: f64 = 8.0;
    const LINE: f64 = 14.0;
    const OFFSETS: [i32; 4] = [-7, -21, 7, -35];
    let pixel = |value: f64, range: &Range<f64>, size: u32| {
        f64::from(size) * (value / range.start).ln() / (range.end / range.start).ln()
    };
    // Left and upper edge, and length.
    let mut placed: Vec<(f64, f64, f64)> = Vec::new();
    points
        .iter()
        .map(|(at_x, at_y, label, _)| {
            if label.is_empty() {
                return 0;
            }
            let left = pixel(*at_x, x, SIZE.0);
            let length = CHARACTER * label.len() as f64;
            let top = |offset: i32| f64::from(offset) - pixel(*at_y, y, SIZE.1);
            let free = |offset: &i32| {
                placed.iter().all(|&(other, above, width)| {
                    left + length < other
                        || other + width < left
                        || (top(*offset) - above).abs() >= LINE
                })
            };
            let offset = OFFSETS.into_iter().find(free).unwrap_or(OFFSETS[0]);
            placed.push((left, top(offset), length));
            offset
        })
        .collect()
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
        let offsets = label_offsets(points, (&ranges.0, &ranges.1));
        chart
            .draw_series(
                points
                    .iter()
                    .zip(offsets)
                    .map(|((x, y, label, _), offset)| {
                        EmptyElement::at((*x, *y)) + Text::new(label.clone(), (7, offset), FONT)
                    }),
            )
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
                sample.name.clone(),
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
                sample.name.clone()
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

/// Where whole matrices, at distance zero, are drawn: a logarithmic axis has no zero.
pub(super) const NEAREST: f64 = 1e-4;

/// Time against the distance from whole-matrix Muon. The front is blue; those of it that no faster choice is closer
/// than are joined, the others are there for their workspace.
pub(super) fn pareto(points: &[Point]) -> Result<String, ReportError> {
    let distance = |point: &Point| (1.0 - point.closeness).max(NEAREST);
    let drawn: Vec<_> = points
        .iter()
        .map(|point| {
            let colour = if point.on_front { BLUE_ISH } else { GREY };
            let tile = point.spec.tile.to_string();
            (1e3 * point.seconds, distance(point), tile, colour)
        })
        .collect();
    logarithmic(
        ("ms", "1 - cosine with whole-matrix Muon"),
        (
            around(drawn.iter().map(|point| point.0)),
            around(drawn.iter().map(|point| point.1)),
        ),
        &drawn,
        &[steps(
            drawn.iter().map(|point| (point.0, point.1)).collect(),
        )],
    )
}

/// The points that have none to their left and below, from left to right.
fn steps(mut points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    points.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let mut lowest = f64::INFINITY;
    points.retain(|point| {
        let lower = point.1 < lowest;
        lowest = lowest.min(point.1);
        lower
    });
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_joined_front_never_rises() {
        let points = vec![(3.0, 0.01), (1.0, 0.5), (4.0, 0.1), (2.0, 0.2), (2.0, 0.3)];
        assert_eq!(steps(points), [(1.0, 0.5), (2.0, 0.2), (3.0, 0.01)]);
    }

    #[test]
    fn a_short_axis_has_ticks_too() {
        assert_eq!(ticks(&(13.0..75.0)), [20.0, 30.0, 40.0, 50.0, 60.0, 70.0]);
        assert_eq!(ticks(&(0.9..60.0)), [1.0, 2.0, 5.0, 10.0, 20.0, 50.0]);
    }

    #[test]
    fn labels_of_close_points_keep_apart() {
        let point = |x: f64| (x, 1.0, "16".to_owned(), GREY);
        let points = [point(1.0), point(1.01), point(9.0)];
        let range = 0.5..10.0;
        assert_eq!(label_offsets(&points, (&range, &range)), [-7, -21, -7]);
    }
}
