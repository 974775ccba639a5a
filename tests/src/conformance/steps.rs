//! Whole optimizer steps.

use super::step_case::{DEFAULTS, StepCase, run};
use crate::backend::Backend;
use crate::report::Report;
use crate::specs::{every_recurrence, newton_schulz, power, tile, with_storage, with_tile};
use himuon::launch::{GroupScalars, ScaleRule};
use himuon::templates::{CoefficientSet, Element, KernelSpec, Recurrence, Tile};

fn muon() -> KernelSpec {
    with_tile(&newton_schulz(CoefficientSet::Muon, 5), Tile::square(16))
}

fn square_root() -> KernelSpec {
    with_tile(&power(Recurrence::Fitted, 1, 2, 6), Tile::square(16))
}

/// Runs [`master_weights`], which the reference has none of: it hands bf16 weights back rounded.
pub fn run_master_weights(backend: &mut dyn Backend) -> Report {
    let mut report = Report::default();
    for case in master_weights() {
        report.merge(run(backend, &case));
    }
    report
}

/// Runs all cases but those of [`master_weights`].
pub fn run_all(backend: &mut dyn Backend) -> Report {
    let mut report = Report::default();
    let mut cases = recurrences();
    cases.extend(tilings());
    cases.extend(scalars());
    cases.extend(storages());
    cases.extend(strides_and_poison());
    cases.extend(row_normalisation());
    for case in cases {
        report.merge(run(backend, &case));
    }
    report
}

/// Every recurrence.
pub fn recurrences() -> Vec<StepCase> {
    every_recurrence()
        .into_iter()
        .map(|(label, spec)| StepCase::new(label, with_tile(&spec, Tile::square(16))))
        .collect()
}

/// Tiles of other forms.
pub fn tilings() -> Vec<StepCase> {
    let mut cases = Vec::new();
    for base in [muon(), square_root()] {
        for tile in [
            tile(24, 40),
            tile(1, 1),
            tile(7, 3),
            tile(64, 64),
            Tile::Full,
        ] {
            cases.push(StepCase::new(&format!("{tile:?}"), with_tile(&base, tile)));
        }
    }
    cases
}

/// Momentum conventions, decay and scale rules.
pub fn scalars() -> Vec<StepCase> {
    let conventions = [
        ("heavy ball", 1.0, 0.0, 1.0),
        ("moving average, Nesterov", 0.05, 0.05, 0.95),
        ("moving average", 0.05, 0.0, 1.0),
    ];
    let mut cases = Vec::new();
    for (label, c, alpha, beta) in conventions {
        for weight_decay in [0.0, 0.1] {
            let mut case = StepCase::new(&format!("{label}, decay {weight_decay}"), muon());
            case.scalars = GroupScalars {
                c,
                alpha,
                beta,
                weight_decay,
                ..DEFAULTS
            };
            cases.push(case);
        }
    }
    let rules = [
        ScaleRule::Exact,
        ScaleRule::Paper,
        ScaleRule::Original,
        ScaleRule::MatchRmsAdamW,
        ScaleRule::None,
    ];
    for scale in rules {
        for spec in [
            muon(),
            square_root(),
            with_tile(&muon(), tile(24, 40)),
            with_tile(&muon(), tile(64, 64)),
        ] {
            let mut case = StepCase::new(&format!("{scale:?} {:?}", spec.tile), spec);
            case.scalars.scale = scale;
            cases.push(case);
        }
    }
    cases
}

/// Types of the tensors.
pub fn storages() -> Vec<StepCase> {
    let mut cases = Vec::new();
    let types = [
        (Element::Bf16, Element::F32),
        (Element::F16, Element::F32),
        (Element::Bf16, Element::Bf16),
        (Element::F32, Element::Bf16),
    ];
    for (weight, momentum) in types {
        for base in [muon(), square_root()] {
            let spec = with_storage(&base, weight, momentum);
            cases.push(StepCase::new(&format!("{weight:?} {momentum:?}"), spec));
        }
    }
    cases
}

/// bf16 weights with f32 masters, on one tile of each kind.
pub fn master_weights() -> Vec<StepCase> {
    let mut cases = Vec::new();
    for base in [muon(), square_root()] {
        for (tile, momentum) in [
            (tile(16, 16), Element::F32),
            (tile(24, 40), Element::Bf16),
            (tile(1, 1), Element::F32),
            (Tile::Full, Element::F32),
        ] {
            let mut spec = with_tile(&with_storage(&base, Element::Bf16, momentum), tile);
            spec.storage.master_weights = true;
            let mut case = StepCase::new(&format!("master weights {tile:?}"), spec);
            case.gaps = (0, 3);
            let mut poisoned = case.clone();
            poisoned.label.push_str(", poisoned");
            poisoned.poison = true;
            cases.extend([case, poisoned]);
        }
    }
    cases
}

/// Room between the rows, and tiles with NaN and infinity.
pub fn strides_and_poison() -> Vec<StepCase> {
    let mut cases = Vec::new();
    for base in [muon(), square_root()] {
        for (weight, momentum) in [(Element::F32, Element::F32), (Element::Bf16, Element::F32)] {
            let spec = with_storage(&base, weight, momentum);
            let mut strided = StepCase::new("strided", spec.clone());
            strided.gaps = (3, 17);
            let mut poisoned = StepCase::new("poisoned", spec);
            poisoned.gaps = (1, 0);
            poisoned.poison = true;
            cases.extend([strided, poisoned]);
        }
    }
    cases
}

/// NorMuon.
pub fn row_normalisation() -> Vec<StepCase> {
    let mut cases = Vec::new();
    for base in [muon(), square_root()] {
        for poison in [false, true] {
            let mut case = StepCase::new("rows normalised", base.clone());
            case.normalise_rows = true;
            case.poison = poison;
            cases.push(case);
        }
    }
    cases
}
