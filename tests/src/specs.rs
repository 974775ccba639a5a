//! The specifications that are judged.

use himuon::templates::{
    CoefficientSet, Element, Finite, KernelSpec, Mode, Operand, Power, Recurrence, Storage, Tile,
};
use std::borrow::Cow;

/// A label for reports, and the specification.
pub type Labelled = (&'static str, KernelSpec);

/// p = 0 with a coefficient set.
pub fn newton_schulz(set: CoefficientSet, steps: u32) -> KernelSpec {
    KernelSpec {
        steps,
        recurrence: Recurrence::NewtonSchulz(set),
        ..KernelSpec::new(Tile::Full)
    }
}

/// 0 < p with a recurrence.
///
/// # Panics
/// When `numerator / denominator` is no power.
#[allow(clippy::expect_used)]
pub fn power(recurrence: Recurrence, numerator: u32, denominator: u32, steps: u32) -> KernelSpec {
    KernelSpec {
        steps,
        recurrence,
        power: Power::new(numerator, denominator).expect("a power in [0, 1]"),
        ..KernelSpec::new(Tile::Full)
    }
}

#[allow(clippy::expect_used)]
fn finite(value: f32) -> Finite {
    Finite::new(value).expect("a finite coefficient")
}

/// `minimax` with the lower bound `lower`.
pub fn minimax(lower: f32, steps: u32) -> KernelSpec {
    newton_schulz(
        CoefficientSet::Minimax {
            lower: finite(lower),
        },
        steps,
    )
}

/// A user's own list.
pub fn custom(list: &[[f32; 3]]) -> KernelSpec {
    let list: Vec<[Finite; 3]> = list.iter().map(|step| step.map(finite)).collect();
    let steps = list.len() as u32;
    newton_schulz(CoefficientSet::Custom(Cow::Owned(list)), steps)
}

/// Every recurrence and coefficient set once.
pub fn every_recurrence() -> Vec<Labelled> {
    use CoefficientSet::{Cans, Cubic, Muon, PolarExpress, Quintic, Turbo, You};
    vec![
        ("muon k5", newton_schulz(Muon, 5)),
        ("cubic k5", newton_schulz(Cubic, 5)),
        ("quintic k5", newton_schulz(Quintic, 5)),
        ("polar-express k5", newton_schulz(PolarExpress, 5)),
        ("minimax k5", minimax(1e-3, 5)),
        ("you k5", newton_schulz(You, 5)),
        ("turbo k4", newton_schulz(Turbo, 4)),
        ("cans k9", newton_schulz(Cans, 9)),
        (
            "custom k3",
            custom(&[[3.0, -3.2, 1.2], [1.5, -0.5, 0.0], [1.875, -1.25, 0.375]]),
        ),
        ("fitted 1/2 k6", power(Recurrence::Fitted, 1, 2, 6)),
        ("coupled 1/2 k6", power(Recurrence::Coupled, 1, 2, 6)),
        ("authors 1/3 k6", power(Recurrence::Authors, 1, 3, 6)),
        ("identity", power(Recurrence::Identity, 1, 1, 0)),
    ]
}

/// Other numbers of steps and powers.
pub fn other_steps_and_powers() -> Vec<Labelled> {
    use CoefficientSet::{Cubic, Muon, PolarExpress, Quintic};
    vec![
        ("muon k1", newton_schulz(Muon, 1)),
        ("muon k3", newton_schulz(Muon, 3)),
        ("muon k10", newton_schulz(Muon, 10)),
        ("cubic k10", newton_schulz(Cubic, 10)),
        ("quintic k10", newton_schulz(Quintic, 10)),
        ("polar-express k6", newton_schulz(PolarExpress, 6)),
        ("polar-express k8", newton_schulz(PolarExpress, 8)),
        ("minimax k1", minimax(1e-3, 1)),
        ("minimax k8", minimax(1e-3, 8)),
        ("fitted 1/4 k3", power(Recurrence::Fitted, 1, 4, 3)),
        ("fitted 1/4 k8", power(Recurrence::Fitted, 1, 4, 8)),
        ("fitted 1/3 k5", power(Recurrence::Fitted, 1, 3, 5)),
        ("fitted 2/3 k4", power(Recurrence::Fitted, 2, 3, 4)),
        ("fitted 3/4 k7", power(Recurrence::Fitted, 3, 4, 7)),
        ("coupled 1/3 k6", power(Recurrence::Coupled, 1, 3, 6)),
        ("coupled 2/3 k7", power(Recurrence::Coupled, 2, 3, 7)),
        ("coupled 1/4 k5", power(Recurrence::Coupled, 1, 4, 5)),
        ("coupled 3/4 k6", power(Recurrence::Coupled, 3, 4, 6)),
        ("authors 1/3 k3", power(Recurrence::Authors, 1, 3, 3)),
    ]
}

/// A tile of `rows` x `columns`.
pub fn tile(rows: u32, columns: u32) -> Tile {
    Tile::Sized { rows, columns }
}

/// The same specification with another tile.
pub fn with_tile(spec: &KernelSpec, tile: Tile) -> KernelSpec {
    KernelSpec {
        tile,
        ..spec.clone()
    }
}

/// The same specification with another type of weights and gradients.
pub fn with_storage(spec: &KernelSpec, weight: Element, momentum: Element) -> KernelSpec {
    KernelSpec {
        storage: Storage {
            weight,
            momentum,
            ..Storage::F32
        },
        ..spec.clone()
    }
}

/// The same specification with another operand and mode.
pub fn with_rounding(spec: &KernelSpec, operand: Operand, mode: Mode) -> KernelSpec {
    KernelSpec {
        operand,
        mode,
        ..spec.clone()
    }
}
