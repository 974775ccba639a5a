//! The plots of one matrix, as SVG text.

use super::error::DiagnosisError;
use himuon::diagnose::{MatrixDiagnosis, TileDiagnosis};
use plotters::coord::Shift;
use plotters::prelude::*;

const SIZE: (u32, u32) = (540, 340);
/// Colours that people who see few of them can tell apart (Okabe and Ito, 2008).
pub(super) const COLOURS: [RGBColor; 6] = [
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0x56, 0xb4, 0xe9),
];
/// Most tiles along an edge of a heat map.
const MOST_CELLS: usize = 48;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn drawn(
    draw: impl FnOnce(&Area<'_>) -> Result<(), DiagnosisError>,
) -> Result<String, DiagnosisError> {
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
        area.fill(&WHITE).map_err(failed)?;
        draw(&area)?;
        area.present().map_err(failed)?;
    }
    Ok(text)
}

pub(super) fn failed(error: impl std::fmt::Display) -> DiagnosisError {
    DiagnosisError::Plot(error.to_string())
}

/// Singular values relative to the largest, by rank.
pub(super) fn spectrum(found: &MatrixDiagnosis) -> Result<String, DiagnosisError> {
    let largest = found.spectrum.values.first().copied().unwrap_or(1.0);
    let mut rank = 0.0;
    let points: Vec<(f64, f64)> = found
        .spectrum
        .values
        .iter()
        .zip(&found.spectrum.weights)
        .map(|(value, weight)| {
            rank += weight;
            (rank.max(1e-3), (value / largest).max(1e-8))
        })
        .collect();
    let low = points.iter().map(|point| point.1).fold(1.0, f64::min) / 1.5;
    drawn(|area| {
        let mut chart = ChartBuilder::on(area)
            .caption("singular values", ("sans-serif", 16))
            .margin(10)
            .x_label_area_size(36)
            .y_label_area_size(60)
            .build_cartesian_2d(
                (0.5..rank.max(1.0) * 1.1).log_scale(),
                (low..1.5).log_scale(),
            )
            .map_err(failed)?;
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .x_desc("rank")
            .y_desc("s / s_max")
            .y_label_formatter(&|value| format!("{value:.0e}"))
            .draw()
            .map_err(failed)?;
        let style = COLOURS[1].stroke_width(2);
        chart
            .draw_series(LineSeries::new(points, style))
            .map_err(failed)?;
        Ok(())
    })
}

/// Cosine to the whole matrix's map by tile, one line a power.
pub(super) fn cosines(found: &MatrixDiagnosis) -> Result<String, DiagnosisError> {
    let names: Vec<&str> = found.tiles.iter().map(|tile| tile.tile.as_str()).collect();
    let powers = found.tiles.first().map_or(0, |tile| tile.maps.len());
    let last = names.len().max(2) as f64 - 1.0;
    let all = found.tiles.iter().flat_map(|tile| &tile.maps);
    let low = all.map(|map| map.cosine.value).fold(0.0, f64::min);
    drawn(|area| {
        let mut chart = ChartBuilder::on(area)
            .caption("cosine to the map of the whole matrix", ("sans-serif", 16))
            .margin(10)
            .x_label_area_size(36)
            .y_label_area_size(44)
            .build_cartesian_2d(-0.2..last + 0.2, low - 0.02..1.04)
            .map_err(failed)?;
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .x_labels(2 * names.len())
            .x_label_formatter(&|place| label(&names, *place))
            .x_desc("tile")
            .draw()
            .map_err(failed)?;
        for index in 0..powers {
            let points = found.tiles.iter().enumerate().filter_map(|(place, tile)| {
                Some((place as f64, tile.maps.get(index)?.cosine.value))
            });
            let power = &found.tiles[0].maps[index].power;
            let style = COLOURS[index % COLOURS.len()].stroke_width(2);
            chart
                .draw_series(LineSeries::new(points, style).point_size(3))
                .map_err(failed)?
                .label(format!("p = {power}"))
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], style));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerRight)
            .background_style(WHITE.mix(0.85))
            .draw()
            .map_err(failed)?;
        Ok(())
    })
}

fn label(names: &[&str], place: f64) -> String {
    let whole = place.round();
    if (place - whole).abs() > 1e-6 || whole < 0.0 {
        return String::new();
    }
    names
        .get(whole as usize)
        .map_or(String::new(), |name| (*name).to_owned())
}

/// The tile size whose heat maps are shown: the finest that can be told apart.
pub(super) fn shown(found: &MatrixDiagnosis) -> Option<&TileDiagnosis> {
    let fits = |tile: &&TileDiagnosis| {
        let grid = &tile.statistics.grid;
        grid.norms.len() > 1 && grid.rows.max(grid.columns) <= MOST_CELLS
    };
    found
        .tiles
        .iter()
        .filter(fits)
        .max_by_key(|tile| tile.statistics.grid.norms.len())
}

/// ||M||_F of each tile.
pub(super) fn norms(tile: &TileDiagnosis) -> Result<String, DiagnosisError> {
    let cells = tile
        .statistics
        .grid
        .norms
        .iter()
        .map(|norm| Some(*norm))
        .collect();
    heat_map(tile, "norm of each tile", cells)
}

/// s_max/s_min of each tile.
pub(super) fn conditions(tile: &TileDiagnosis) -> Result<String, DiagnosisError> {
    let cells = tile.statistics.grid.conditions.iter();
    let cells = cells
        .map(|cell| cell.map(|condition| condition.min(1e8)))
        .collect();
    heat_map(tile, "condition of each tile", cells)
}

/// A cell per tile, coloured by logarithm; grey where nothing was measured.
fn heat_map(
    tile: &TileDiagnosis,
    title: &str,
    cells: Vec<Option<f64>>,
) -> Result<String, DiagnosisError> {
    let grid = &tile.statistics.grid;
    let positive = || cells.iter().flatten().copied().filter(|value| *value > 0.0);
    let low = positive().fold(f64::INFINITY, f64::min);
    let high = positive().fold(0.0, f64::max);
    let range = (high / low).ln();
    let caption = format!(
        "{title}, tile {}: {low:.2e} (blue) to {high:.2e} (red)",
        tile.tile
    );
    drawn(|area| {
        let mut chart = ChartBuilder::on(area)
            .caption(caption, ("sans-serif", 13))
            .margin(10)
            .build_cartesian_2d(0..grid.columns, 0..grid.rows)
            .map_err(failed)?;
        let rectangles = cells.iter().enumerate().map(|(place, cell)| {
            let (row, column) = (place / grid.columns, place % grid.columns);
            let colour = match cell {
                Some(value) if *value > 0.0 => {
                    let depth = if range > 0.0 {
                        (value / low).ln() / range
                    } else {
                        0.5
                    };
                    HSLColor(0.66 * (1.0 - depth), 0.7, 0.5).to_rgba()
                }
                Some(_) => BLACK.to_rgba(),
                None => RGBColor(0xdd, 0xdd, 0xdd).to_rgba(),
            };
            let top = grid.rows - row;
            Rectangle::new([(column, top), (column + 1, top - 1)], colour.filled())
        });
        chart.draw_series(rectangles).map_err(failed)?;
        Ok(())
    })
}
