//! Odd shapes, tiles and strides drawn at random, judged like every other case.

use himuon::templates::{Element, Tile};
use himuon_tests::conformance::step_case::{StepCase, run};
use himuon_tests::cpu::CpuBackend;
use himuon_tests::specs::{every_recurrence, tile, with_storage, with_tile};
use proptest::prelude::*;

fn any_tile() -> impl Strategy<Value = Tile> {
    prop_oneof![
        1 => Just(Tile::Full),
        6 => (1u32..48, 1u32..48).prop_map(|(rows, columns)| tile(rows, columns)),
    ]
}

prop_compose! {
    fn any_case()(
        index in 0..every_recurrence().len(),
        tile in any_tile(),
        shapes in prop::collection::vec((1usize..70, 1usize..70), 1..4),
        gaps in (0usize..5, 0usize..5),
        weight in prop::sample::select(vec![Element::F32, Element::Bf16, Element::F16]),
        poison in any::<bool>(),
        normalise_rows in any::<bool>(),
        seed in any::<u64>(),
    ) -> StepCase {
        let (label, spec) = every_recurrence().swap_remove(index);
        let spec = with_storage(&with_tile(&spec, tile), weight, Element::F32);
        StepCase {
            shapes,
            gaps,
            poison,
            normalise_rows,
            seed,
            steps: 1,
            ..StepCase::new(label, spec)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_launch_agrees_with_the_reference(case in any_case()) {
        let report = run(&mut CpuBackend::new(2), &case);
        prop_assert!(report.failures.is_empty(), "{:#?}", report.failures);
        prop_assert!(report.skipped.is_empty(), "{:#?}", report.skipped);
    }
}
