//! What a step left, against the step in `f64`.

use super::step_case::{BETWEEN, Pair, StepCase};
use crate::inputs::rounded;
use crate::report::Report;
use crate::storage::half_ulp;
use crate::tolerances::{
    DIAGNOSTICS, INNER_PRODUCT_OF_BF16_MOMENTUM, MOMENTUM, NORM, SECOND_MOMENT, STEP,
};
use himuon::launch::TileDiagnostics;
use himuon::reference::{MappedMatrix, Matrix, ReferenceMap, TileBounds};
use himuon::templates::Element;

/// The weight: unchanged in non-finite tiles and between the rows, near the reference elsewhere.
pub(super) fn judge_weight(
    case: &StepCase,
    pair: &Pair,
    before: &Matrix,
    mapped: &MappedMatrix,
    name: &str,
    report: &mut Report,
) {
    let leading = pair.weight_leading;
    let wide = pair.weight.matrix(pair.rows, leading, leading);
    let between = f64::from(BETWEEN);
    let between = rounded(
        &Matrix::from_fn(1, 1, |_, _| between),
        case.spec.storage.weight,
    )
    .get(0, 0);
    let kept = (0..pair.rows).all(|r| wide.row(r)[pair.columns..].iter().all(|v| *v == between));
    report.holds(kept, || {
        format!("{name}: wrote between the rows of the weight")
    });
    let found = pair.found_weight();
    let storage = case.spec.storage;
    let element = match storage.master_weights {
        true => Element::F32,
        false => storage.weight,
    };
    for (bounds, tile) in &mapped.tiles {
        let (found, before) = (found.cut(bounds), before.cut(bounds));
        let place = || format!("{name} tile ({}, {})", bounds.row, bounds.column);
        if tile.non_finite {
            report.holds(found == before, || {
                format!("{}: a non-finite tile changed", place())
            });
            continue;
        }
        let expected = pair.expected.weight.cut(bounds);
        let cancellation = cancellation(pair, bounds, tile.norm);
        judge_update(
            element,
            [&found, &expected, &before],
            cancellation,
            &place(),
            report,
        );
    }
}

/// How much larger than M the momentum is, at least 1: where M's two terms cancel (in a tile of one or a few elements they
/// may nearly vanish), the rounding of the momentum is that much larger beside M.
fn cancellation(pair: &Pair, bounds: &TileBounds, norm: f64) -> f64 {
    let momentum = pair.expected.momentum.cut(bounds).norm();
    if momentum > norm && norm > 0.0 {
        momentum / norm
    } else {
        1.0
    }
}

/// The weight of one tile as found, as expected, and before the step.
fn judge_update(
    element: Element,
    [found, expected, before]: [&Matrix; 3],
    cancellation: f64,
    place: &str,
    report: &mut Report,
) {
    let change = expected.combined(1.0, -1.0, before);
    let (quantity, error) = if element == Element::F32 {
        let difference = found.combined(1.0, -1.0, expected).norm();
        // The last bit of W itself, next to an update that may be much smaller.
        let rounding = 2.0 * half_ulp(element, expected.norm());
        let excess = if difference <= rounding {
            0.0
        } else {
            difference - rounding
        };
        ("step, f32 weight", excess / change.norm())
    } else {
        let pairs = found.values().iter().zip(expected.values());
        let excess = pairs.map(|(f, e)| (f - e).abs() - 1.001 * half_ulp(element, *e));
        let excess = excess.fold(0.0, |m: f64, v| if v > m || v.is_nan() { v } else { m });
        let largest = change.values().iter().fold(0.0, |m: f64, v| m.max(v.abs()));
        ("step, 16-bit weight", excess / largest)
    };
    report.measured(quantity.to_owned(), Ok(STEP), error / cancellation, place);
}

/// Momentum and row moments.
pub(super) fn judge_state(case: &StepCase, pair: &Pair, name: &str, report: &mut Report) {
    let element = case.spec.storage.momentum;
    let found = pair.momentum.matrix(pair.rows, pair.columns, pair.columns);
    let pairs = found.values().iter().zip(pair.expected.momentum.values());
    let excess = pairs.map(|(f, e)| {
        if f == e || (f.is_nan() && e.is_nan()) {
            0.0
        } else {
            (f - e).abs() - 1.001 * half_ulp(element, *e)
        }
    });
    let excess = excess.fold(0.0, |m: f64, v| if v > m || v.is_nan() { v } else { m });
    report.measured("momentum".to_owned(), Ok(MOMENTUM), excess, name);
    if let Some(moments) = &pair.expected.row_moments {
        for (found, expected) in pair.row_moments.iter().zip(&moments.values) {
            let error = (f64::from(*found) - expected).abs() / expected.abs().max(1e-30);
            report.measured("second moment".to_owned(), Ok(SECOND_MOMENT), error, name);
        }
    }
}

/// What was reported of each tile.
pub(super) fn judge_diagnostics(
    map: &ReferenceMap,
    pair: &Pair,
    mapped: &MappedMatrix,
    found: &[TileDiagnostics],
    name: &str,
    report: &mut Report,
) {
    let always = map.spec().criterion == himuon::templates::Criterion::Always;
    for ((bounds, tile), found) in mapped.tiles.iter().zip(found) {
        let place = || format!("{name} tile ({}, {})", bounds.row, bounds.column);
        report.holds(found.non_finite == tile.non_finite, || {
            format!("{}: {found:?}", place())
        });
        if tile.non_finite {
            continue;
        }
        report.holds(found.orthogonalised == tile.orthogonalised, || {
            format!("{}: {found:?}", place())
        });
        let relative = |found: f32, expected: f64| {
            (f64::from(found) - expected).abs() / expected.abs().max(1e-30)
        };
        let error = relative(found.norm, tile.norm) / cancellation(pair, bounds, tile.norm);
        report.measured("diagnostics norm".to_owned(), Ok(NORM), error, &place());
        // What an unorthogonalised tile would have been mapped to, a kernel need not know.
        if !always {
            continue;
        }
        let inner_product = match map.spec().storage.momentum {
            Element::Bf16 => (
                "diagnostics <X, O>, bf16 momentum",
                INNER_PRODUCT_OF_BF16_MOMENTUM,
            ),
            _ => ("diagnostics <X, O>", DIAGNOSTICS),
        };
        let squared = tile.values.norm_squared();
        let facts = [
            (inner_product, found.inner_product, tile.inner_product),
            (
                ("diagnostics ||O||^2", DIAGNOSTICS),
                found.mapped_norm_squared,
                squared,
            ),
        ];
        for ((quantity, tolerance), found, expected) in facts {
            let error = relative(found, expected);
            report.measured(quantity.to_owned(), Ok(tolerance), error, &place());
        }
    }
}
