//! Each rule: what it accepts, what it refuses, and what it says.

use super::*;
use crate::spec::{Field, Fine, Finite, Otherwise, Scope};
use std::borrow::Cow;

fn spec() -> KernelSpec {
    KernelSpec::new(Tile::square(64))
}

fn with(change: impl FnOnce(&mut KernelSpec)) -> Result<(), SpecError> {
    let mut spec = spec();
    change(&mut spec);
    spec.check()
}

fn newton_schulz(set: CoefficientSet, steps: u32) -> Result<(), SpecError> {
    with(|spec| {
        spec.recurrence = Recurrence::NewtonSchulz(set);
        spec.steps = steps;
    })
}

fn powered(recurrence: Recurrence, numerator: u32, denominator: u32) -> Result<(), SpecError> {
    with(|spec| {
        spec.power = Power::new(numerator, denominator).unwrap();
        spec.steps = recurrence.default_steps();
        spec.recurrence = recurrence;
    })
}

fn refused(result: Result<(), SpecError>, field: Field, says: &[&str]) {
    let error = result.unwrap_err();
    assert_eq!(error.field(), field, "{error}");
    for part in says {
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[test]
fn tiles() {
    let tiled = |tile| with(|spec| spec.tile = tile);
    assert!(tiled(Tile::Full).is_ok());
    assert!(tiled(Tile::square(1)).is_ok());
    assert!(
        tiled(Tile::Sized {
            rows: 64,
            columns: MAX_TILE_EDGE
        })
        .is_ok()
    );
    refused(
        tiled(Tile::square(0)),
        Field::Tile,
        &["found 0", "1 to 65536"],
    );
    refused(
        tiled(Tile::Sized {
            rows: 4,
            columns: 65_537,
        }),
        Field::Tile,
        &["found 65537", "full"],
    );
}

#[test]
fn steps_of_each_set() {
    let lower = Finite::new(1e-3).unwrap();
    for (set, accepted, text) in [
        (CoefficientSet::Muon, 1..=10, "1 to 10"),
        (CoefficientSet::Cubic, 1..=10, "1 to 10"),
        (CoefficientSet::Quintic, 1..=10, "1 to 10"),
        (CoefficientSet::Minimax { lower }, 1..=10, "1 to 10"),
        (CoefficientSet::PolarExpress, 5..=32, "5 to 32"),
        (CoefficientSet::You, 5..=5, "is 5"),
        (CoefficientSet::Turbo, 4..=4, "is 4"),
        (CoefficientSet::Cans, 9..=32, "9 to 32"),
    ] {
        for steps in 0..=40 {
            let result = newton_schulz(set.clone(), steps);
            if accepted.contains(&steps) {
                assert!(result.is_ok(), "{set:?} {steps}");
            } else {
                refused(result, Field::Steps, &[text, &format!("found {steps}")]);
            }
        }
        assert!(accepted.contains(&set.default_steps()));
    }
    refused(
        newton_schulz(CoefficientSet::PolarExpress, 4),
        Field::Steps,
        &["minimax(1e-3)"],
    );
}

#[test]
fn lower_bound_of_minimax() {
    for lower in [-1.0, 0.0, 1e-7, 0.95, 1.0] {
        let lower = Finite::new(lower).unwrap();
        refused(
            newton_schulz(CoefficientSet::Minimax { lower }, 5),
            Field::Coefficients,
            &["1e-6 to 0.9"],
        );
    }
}

#[test]
fn custom_lists() {
    let list = |steps: &[[f32; 3]]| {
        let list: Vec<_> = steps
            .iter()
            .map(|s| s.map(|v| Finite::new(v).unwrap()))
            .collect();
        let steps = u32::try_from(list.len()).unwrap();
        newton_schulz(CoefficientSet::Custom(Cow::Owned(list)), steps)
    };
    assert!(list(&[[1.5, -0.5, 0.0]; 12]).is_ok());
    refused(list(&[]), Field::Coefficients, &["found 0", "1 to 32"]);
    refused(
        list(&[[1.5, -0.5, 0.0]; 33]),
        Field::Coefficients,
        &["found 33"],
    );
    // Polar Express without its safety division leaves the bound just above 1.
    refused(
        list(&[
            [8.287_212, -23.595_886, 17.300_387],
            [4.107_059, -2.947_85, 0.544_843],
        ]),
        Field::Coefficients,
        &["|s_K| <= 2", "(0, 1.01]"],
    );
    let one = [[Finite::new(1.5).unwrap(); 3]];
    refused(
        newton_schulz(CoefficientSet::Custom(Cow::Owned(one.to_vec())), 2),
        Field::Steps,
        &["its length, 1", "found 2"],
    );
}

#[test]
fn recurrence_and_power() {
    for (n, d) in [(1, 4), (1, 3), (1, 2), (2, 3), (3, 4)] {
        assert!(powered(Recurrence::Fitted, n, d).is_ok());
    }
    assert!(powered(Recurrence::Coupled, 7, 8).is_ok());
    assert!(powered(Recurrence::Authors, 1, 3).is_ok());
    assert!(powered(Recurrence::Identity, 1, 1).is_ok());
    refused(
        powered(Recurrence::Fitted, 1, 5),
        Field::Recurrence,
        &["1/4, 1/3, 1/2, 2/3 or 3/4", "coupled"],
    );
    refused(
        powered(Recurrence::Coupled, 1, 9),
        Field::Recurrence,
        &["at most 8"],
    );
    refused(
        powered(Recurrence::Authors, 1, 2),
        Field::Recurrence,
        &["1/3"],
    );
    refused(
        powered(Recurrence::Identity, 0, 1),
        Field::Recurrence,
        &["power 1"],
    );
    refused(
        powered(Recurrence::NewtonSchulz(CoefficientSet::Muon), 1, 2),
        Field::Coefficients,
        &["power 0", "fitted"],
    );
    refused(
        with(|spec| {
            spec.power = Power::new(1, 2).unwrap();
            spec.recurrence = Recurrence::Fitted;
            spec.steps = 9;
        }),
        Field::Steps,
        &["3 to 8"],
    );
}

#[test]
fn criteria() {
    let tested = |measure, threshold: f32, power: Power| {
        with(|spec| {
            spec.criterion = Criterion::Tested {
                measure,
                threshold: Finite::new(threshold).unwrap(),
                scope: Scope::Tile,
                otherwise: Otherwise::Momentum,
            };
            spec.power = power;
            spec.recurrence = Recurrence::default_for(power);
            spec.steps = spec.recurrence.default_steps();
        })
    };
    assert!(tested(Measure::FroNorm, 1e4, Power::ZERO).is_ok());
    assert!(tested(Measure::EffectiveRank, 1.0, Power::ZERO).is_ok());
    refused(
        tested(Measure::FroNorm, -1.0, Power::ZERO),
        Field::Criterion,
        &["at least 0"],
    );
    for measure in [
        Measure::EffectiveRank,
        Measure::NuclearRank,
        Measure::MinGap,
    ] {
        refused(
            tested(measure, 1.5, Power::ZERO),
            Field::Criterion,
            &["0 to 1"],
        );
    }
    refused(
        tested(Measure::FroNorm, 1.0, Power::new(1, 2).unwrap()),
        Field::Criterion,
        &["power 0"],
    );
}

#[test]
fn types() {
    let typed = |weight, momentum, operand, mode| {
        with(|spec| {
            spec.storage.weight = weight;
            spec.storage.momentum = momentum;
            spec.operand = operand;
            spec.mode = mode;
        })
    };
    use Element::{Bf16, F16, F32};
    for weight in [F32, Bf16, F16] {
        for momentum in [F32, Bf16] {
            for operand in [Operand::F32, Operand::Tf32, Operand::Bf16, Operand::F16] {
                assert!(typed(weight, momentum, operand, Mode::Accurate).is_ok());
            }
        }
    }
    refused(
        typed(F16, F16, Operand::F16, Mode::Accurate),
        Field::Momentum,
        &["f32 or bf16"],
    );
    assert!(typed(F32, F32, Operand::F32, Mode::Reference).is_ok());
    assert!(typed(Bf16, Bf16, Operand::Bf16, Mode::Reference).is_ok());
    refused(
        typed(Bf16, F32, Operand::Bf16, Mode::Reference),
        Field::Momentum,
        &["momentum bf16"],
    );
    refused(
        typed(F32, F32, Operand::Tf32, Mode::Reference),
        Field::Operand,
        &["f32 or bf16"],
    );
    refused(
        with(|spec| {
            spec.mode = Mode::Reference;
            spec.recurrence = Recurrence::NewtonSchulz(CoefficientSet::Turbo);
            spec.steps = 4;
        }),
        Field::Mode,
        &["accurate"],
    );
}

#[test]
fn a_coarse_part_couples_tiles_of_a_polar_map() {
    let polar = |rank| Coarse::Polar {
        rank,
        fine: Fine::Projected,
    };
    assert_eq!(with(|spec| spec.coarse = polar(MAX_COARSE_RANK)), Ok(()));
    for rank in [0, MAX_COARSE_RANK + 1] {
        let found = format!("found {rank}");
        refused(
            with(|spec| spec.coarse = polar(rank)),
            Field::Coarse,
            &[&found, "512"],
        );
    }
    type Change = fn(&mut KernelSpec);
    let conflicts: [(Change, &str); 4] = [
        (|spec| spec.tile = Tile::Full, "one tile"),
        (
            |spec| {
                spec.power = Power::ONE;
                spec.recurrence = Recurrence::Identity;
                spec.steps = 0;
            },
            "maps nothing",
        ),
        (|spec| spec.mode = Mode::Reference, "rounding points"),
        (
            |spec| {
                spec.criterion = Criterion::Tested {
                    measure: Measure::FroNorm,
                    threshold: Finite::ZERO,
                    scope: Scope::Tile,
                    otherwise: Otherwise::Momentum,
                };
            },
            "independent",
        ),
    ];
    for (change, says) in conflicts {
        let both = with(|spec| {
            change(spec);
            spec.coarse = polar(8);
        });
        refused(both, Field::Coarse, &[says, "leave `coarse` out"]);
    }
}
