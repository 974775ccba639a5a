//! Odd shapes, tiles and strides drawn at random, judged like every other case.

use himuon::KernelSpec;
use himuon::cpu::{CpuVariant, InstructionSet};
use himuon::launch::{LaunchReport, MatrixStep};
use himuon::reference::Normalisation;
use himuon::templates::{Element, Tile};
use himuon::tensor::TensorRef;
use himuon_tests::backend::{Backend, Refusal};
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

/// The CPU kernels with one instruction set, and the bits of all that they wrote, gaps between rows included.
struct Recorded {
    kernels: CpuBackend,
    bits: Vec<u32>,
}

impl Recorded {
    fn new(set: InstructionSet, threads: usize) -> Recorded {
        Recorded {
            kernels: CpuBackend::new(threads).with_variant(CpuVariant::new(set)),
            bits: Vec::new(),
        }
    }

    fn record(&mut self, tensor: TensorRef<'_>) {
        match tensor {
            TensorRef::F32(numbers) => self.bits.extend(numbers.iter().map(|x| x.to_bits())),
            TensorRef::Bf16(numbers) => {
                self.bits
                    .extend(numbers.iter().map(|x| u32::from(x.to_bits())));
            }
            TensorRef::F16(numbers) => {
                self.bits
                    .extend(numbers.iter().map(|x| u32::from(x.to_bits())));
            }
        }
    }
}

impl Backend for Recorded {
    fn name(&self) -> &str {
        self.kernels.name()
    }

    fn map(
        &mut self,
        spec: &KernelSpec,
        matrix: TensorRef<'_>,
        rows: usize,
        columns: usize,
        normalisation: Normalisation,
    ) -> Result<(Vec<f32>, LaunchReport), Refusal> {
        self.kernels.map(spec, matrix, rows, columns, normalisation)
    }

    fn step(
        &mut self,
        spec: &KernelSpec,
        matrices: &mut [MatrixStep<'_>],
    ) -> Result<LaunchReport, Refusal> {
        let report = self.kernels.step(spec, matrices)?;
        for matrix in matrices {
            self.record(matrix.weight.as_ref());
            self.record(matrix.momentum.as_ref());
        }
        Ok(report)
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

    #[test]
    fn every_instruction_set_writes_what_plain_rust_writes(case in any_case()) {
        let mut plain = Recorded::new(InstructionSet::Portable, 1);
        run(&mut plain, &case);
        for set in [InstructionSet::Avx512, InstructionSet::Avx2] {
            if !set.is_available() {
                eprintln!("SKIPPED: this processor has no {}", set.name());
                continue;
            }
            let mut found = Recorded::new(set, 2);
            run(&mut found, &case);
            prop_assert!(!plain.bits.is_empty());
            prop_assert!(found.bits == plain.bits, "{}: {case:?}", set.name());
        }
    }
}
