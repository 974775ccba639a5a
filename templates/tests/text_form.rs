//! The text form of a specification: reads back, orders, and refuses with the accepted values.

#![allow(clippy::unwrap_used)] // strategies are functions outside of `#[test]`

use himuon_templates::{
    Coarse, CoefficientSet, Criterion, Element, Fine, Finite, KernelSpec, Measure, Mode, Operand,
    Otherwise, Power, Recurrence, Scope, Storage, Tile,
};
use proptest::prelude::*;
use std::borrow::Cow;

fn finite(range: std::ops::Range<f32>) -> impl Strategy<Value = Finite> {
    range.prop_filter_map("finite", Finite::new)
}

fn tiles() -> impl Strategy<Value = Tile> {
    prop_oneof![
        Just(Tile::Full),
        (1_u32..=65_536).prop_map(Tile::square),
        (1_u32..=65_536, 1_u32..=65_536).prop_map(|(rows, columns)| Tile::Sized { rows, columns }),
    ]
}

fn sets() -> impl Strategy<Value = CoefficientSet> {
    let step = [-2.0_f32..2.0, -1.0_f32..0.0, 0.0_f32..0.3];
    let list = proptest::collection::vec(
        step.prop_filter_map("finite", |step| {
            let [Some(a), Some(b), Some(c)] = step.map(Finite::new) else {
                return None;
            };
            Some([a, b, c])
        }),
        1..4,
    );
    prop_oneof![
        Just(CoefficientSet::Muon),
        Just(CoefficientSet::Cubic),
        Just(CoefficientSet::Quintic),
        Just(CoefficientSet::PolarExpress),
        Just(CoefficientSet::You),
        Just(CoefficientSet::Turbo),
        Just(CoefficientSet::Cans),
        finite(1e-6..0.9).prop_map(|lower| CoefficientSet::Minimax { lower }),
        list.prop_map(|list| CoefficientSet::Custom(Cow::Owned(list))),
    ]
}

fn powered() -> impl Strategy<Value = (Power, Recurrence)> {
    let power = |n, d| Power::new(n, d).unwrap();
    prop_oneof![
        4 => sets().prop_map(|set| (Power::ZERO, Recurrence::NewtonSchulz(set))),
        1 => prop::sample::select(vec![(1, 4), (1, 3), (1, 2), (2, 3), (3, 4)])
            .prop_map(move |(n, d)| (power(n, d), Recurrence::Fitted)),
        1 => (2_u32..=8)
            .prop_flat_map(|d| (1..d, Just(d)))
            .prop_map(move |(n, d)| (power(n, d), Recurrence::Coupled)),
        1 => Just((power(1, 3), Recurrence::Authors)),
        1 => Just((Power::ONE, Recurrence::Identity)),
    ]
}

fn coarse_parts() -> impl Strategy<Value = Coarse> {
    let fine = prop::sample::select(vec![Fine::Projected, Fine::Fused, Fine::Nothing]);
    prop_oneof![
        2 => Just(Coarse::Off),
        1 => (1_u32..600, fine).prop_map(|(rank, fine)| Coarse::Polar { rank, fine }),
    ]
}

fn criteria() -> impl Strategy<Value = Criterion> {
    let measures = vec![
        Measure::FroNorm,
        Measure::EffectiveRank,
        Measure::NuclearRank,
        Measure::MinGap,
    ];
    let tested = (
        prop::sample::select(measures),
        finite(0.0..1.0),
        prop::sample::select(vec![Scope::Tile, Scope::Matrix]),
        prop::sample::select(vec![Otherwise::Momentum, Otherwise::RmsMatched]),
    )
        .prop_map(|(measure, threshold, scope, otherwise)| Criterion::Tested {
            measure,
            threshold,
            scope,
            otherwise,
        });
    prop_oneof![Just(Criterion::Always), tested]
}

prop_compose! {
    fn specs()(
        tile in tiles(),
        (power, recurrence) in powered(),
        extra_steps in 0_u32..3,
        weight in prop::sample::select(vec![Element::F32, Element::Bf16, Element::F16]),
        momentum in prop::sample::select(vec![Element::F32, Element::Bf16]),
        master_weights in any::<bool>(),
        operand in prop::sample::select(vec![Operand::F32, Operand::Tf32, Operand::Bf16, Operand::F16]),
        mode in prop::sample::select(vec![Mode::Accurate, Mode::Reference]),
        criterion in criteria(),
        coarse in coarse_parts(),
    ) -> KernelSpec {
        KernelSpec {
            tile,
            steps: recurrence.default_steps() + extra_steps,
            power,
            recurrence,
            storage: Storage { weight, momentum, master_weights },
            operand,
            mode,
            criterion,
            coarse,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_printed_specification_reads_back(spec in specs()) {
        let text = spec.to_string();
        match spec.check() {
            Ok(()) => {
                let read: KernelSpec = text.parse().unwrap();
                prop_assert_eq!(&read, &spec, "{}", text);
                prop_assert_eq!(read.to_string(), text);
            }
            Err(error) => {
                let refused = text.parse::<KernelSpec>().unwrap_err();
                prop_assert_eq!(refused.to_string(), error.to_string(), "{}", text);
            }
        }
    }

    #[test]
    fn the_order_is_total_and_agrees_with_equality(a in specs(), b in specs(), c in specs()) {
        use std::cmp::Ordering::{Equal, Greater};
        prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
        prop_assert_eq!(a.cmp(&b) == Equal, a == b);
        if a.cmp(&b) != Greater && b.cmp(&c) != Greater {
            prop_assert_ne!(a.cmp(&c), Greater);
        }
    }

    #[test]
    fn any_text_is_answered(text in "[ -~]{0,60}") {
        let _ = text.parse::<KernelSpec>();
        let _ = text.parse::<CoefficientSet>();
        let _ = text.parse::<Power>();
    }
}

#[test]
fn the_form_is_stable() {
    for (short, full) in [
        (
            "tile=128",
            "tile=128 steps=5 power=0 coefficients=muon weight=f32 momentum=f32 operand=f32 mode=accurate criterion=always coarse=0",
        ),
        (
            "coefficients=minimax steps=3 tile=64x256 element=bf16",
            "tile=64x256 steps=3 power=0 coefficients=minimax(0.001) weight=bf16 momentum=f32 operand=bf16 mode=accurate criterion=always coarse=0",
        ),
        (
            "tile=32 coarse=8",
            "tile=32 steps=5 power=0 coefficients=muon weight=f32 momentum=f32 operand=f32 mode=accurate criterion=always coarse=8 fine=fused",
        ),
        (
            "tile=full power=0.5",
            "tile=full steps=6 power=1/2 recurrence=fitted weight=f32 momentum=f32 operand=f32 mode=accurate criterion=always coarse=0",
        ),
        (
            "tile=16 recurrence=identity",
            "tile=16 steps=0 power=1 recurrence=identity weight=f32 momentum=f32 operand=f32 mode=accurate criterion=always coarse=0",
        ),
        (
            "tile=16 mode=reference element=bf16 criterion=effective_rank(0.1)",
            "tile=16 steps=5 power=0 coefficients=muon weight=bf16 momentum=bf16 operand=bf16 mode=reference criterion=effective_rank(0.1) scope=tile otherwise=momentum coarse=0",
        ),
        (
            "tile=16 coefficients=[(1.5,-0.5,0),(1.875,-1.25,0.375)]",
            "tile=16 steps=2 power=0 coefficients=[(1.5,-0.5,0.0),(1.875,-1.25,0.375)] weight=f32 momentum=f32 operand=f32 mode=accurate criterion=always coarse=0",
        ),
    ] {
        let spec: KernelSpec = short.parse().unwrap();
        assert_eq!(spec.to_string(), full);
        assert_eq!(full.parse::<KernelSpec>().unwrap(), spec);
    }
}

#[test]
fn refusals_name_what_is_accepted() {
    for (text, says) in [
        ("", "no tile"),
        ("tile", "key=value"),
        ("tile=12y", "64x256"),
        ("tile=-1", "an edge"),
        ("tile=16 tile=32", "stated twice"),
        ("tile=16 colour=red", "accepted are tile, steps"),
        ("tile=16 steps=many", "whole numbers"),
        ("tile=16 power=2", "from 0 to 1"),
        ("tile=16 power=1/0", "from 0 to 1"),
        ("tile=16 element=f64", "f32, bf16 or f16"),
        ("tile=16 coefficients=best", "polar-express"),
        ("tile=16 coefficients=minimax(x)", "finite"),
        ("tile=16 coefficients=[(1,2)]", "steps of three"),
        ("tile=16 coefficients=[(1,2,inf)]", "finite"),
        ("tile=16 criterion=fro_norm", "fro_norm(t)"),
        ("tile=16 criterion=size(1)", "effective_rank"),
        ("tile=16 scope=matrix", "without a criterion"),
        (
            "tile=16 recurrence=fitted coefficients=muon power=1/2",
            "has its own coefficients",
        ),
        ("tile=16 recurrence=fitted", "found power 0"),
        ("tile=16 coefficients=muon power=1/2", "go with power 0"),
        ("tile=16 coarse=513", "found 513"),
        ("tile=full coarse=8", "one tile"),
        ("tile=16 fine=fused", "without a coarse part"),
        ("tile=16 coarse=8 fine=rough", "projected, fused or none"),
    ] {
        let error = text.parse::<KernelSpec>().unwrap_err().to_string();
        assert!(error.contains(says), "{text}: {error}");
    }
}

#[test]
fn powers_are_exact() {
    for (text, expected) in [
        ("1/2", (1, 2)),
        ("0.5", (1, 2)),
        ("2/6", (1, 3)),
        ("0.75", (3, 4)),
        ("1", (1, 1)),
        ("0", (0, 1)),
        ("0.125", (1, 8)),
    ] {
        let power: Power = text.parse().unwrap();
        assert_eq!((power.numerator(), power.denominator()), expected);
    }
    for text in ["", ".", "1.5", "-0.5", "1/2/3", "0.1234567891", "half"] {
        assert!(text.parse::<Power>().is_err(), "{text}");
    }
}

#[cfg(feature = "serde")]
#[test]
fn serde_uses_the_text_form() {
    let spec = KernelSpec::new(Tile::square(64));
    let json = serde_json::to_string(&spec).unwrap();
    assert_eq!(json, format!("\"{spec}\""));
    assert_eq!(serde_json::from_str::<KernelSpec>(&json).unwrap(), spec);
    assert!(serde_json::from_str::<KernelSpec>("\"tile=0\"").is_err());
}
