//! What a step left, against the step in `f64`.

use super::step_case::{BETWEEN, Pair, StepCase};
use crate::inputs::rounded;
use crate::report::Report;
use crate::storage::half_ulp;
use crate::tolerances::{DIAGNOSTICS, INNER_PRODUCT_OF_BF16_MOMENTUM, MOMENTUM, STEP};
use himuon::launch::TileDiagnostics;
use himuon::reference::{MappedMatrix, Matrix, ReferenceMap};
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
        judge_update(element, &found, &expected, &before, &place(), report);
    }
}

fn judge_update(
    element: Element,
    found: &Matrix,
    expected: &Matrix,
    before: &Matrix,
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
    report.measured(quantity.to_owned(), Ok(STEP), error, place);
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
            report.measured("second moment".to_owned(), Ok(STEP), error, name);
        }
    }
}

/// What was reported of each tile.
pub(super) fn judge_diagnostics(
    map: &ReferenceMap,
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
        let mut facts = vec![("norm", found.norm, tile.norm)];
        // What an unorthogonalised tile would have been mapped to, a kernel need not know.
        if always {
            facts.push(("<X, O>", found.inner_product, tile.inner_product));
            let squared = tile.values.norm_squared();
            facts.push(("||O||^2", found.mapped_norm_squared, squared));
        }
        for (what, found, expected) in facts {
            let error = (f64::from(found) - expected).abs() / expected.abs().max(1e-30);
            let (quantity, tolerance) = match (what, map.spec().storage.momentum) {
                ("<X, O>", Element::Bf16) => (
                    format!("diagnostics {what}, bf16 momentum"),
                    INNER_PRODUCT_OF_BF16_MOMENTUM,
                ),
                _ => (format!("diagnostics {what}"), DIAGNOSTICS),
            };
            report.measured(quantity, Ok(tolerance), error, &place());
        }
    }
}
