//! Instruction set, variant and number of threads never change a bit on the CPU.

use himuon::Tile;
use himuon::cpu::CpuKernel;
use himuon::reference::{Matrix, Normalisation};
use himuon::templates::Element;
use himuon_tests::backend::{Backend, Refusal};
use himuon_tests::cpu::CpuBackend;
use himuon_tests::inputs::Input;
use himuon_tests::specs::{every_recurrence, tile, with_tile};
use himuon_tests::storage::Buffer;

/// Whole and ragged tiles of one size, in every recurrence.
fn of_every_variant_and_thread_count(tile: Tile) -> Result<(), Refusal> {
    let (rows, columns) = (70, 90);
    let matrix: Matrix = Input::NearLowRank.matrix(rows, columns, 20, Element::F32, 1);
    let buffer = Buffer::contiguous(&matrix, Element::F32);
    for (label, spec) in every_recurrence() {
        let spec = with_tile(&spec, tile);
        let bits = |mut backend: CpuBackend| {
            let normalisation = Normalisation::Rms { factor: 0.2 };
            let (values, _) = backend.map(&spec, buffer.read(), rows, columns, normalisation)?;
            Ok(values
                .iter()
                .map(|value| value.to_bits())
                .collect::<Vec<_>>())
        };
        let expected = bits(CpuBackend::new(1))?;
        for threads in [2, 3] {
            let found = bits(CpuBackend::new(threads))?;
            assert!(found == expected, "{label} {tile:?}: {threads} threads");
        }
        for variant in CpuKernel::variants(&spec) {
            let found = bits(CpuBackend::new(1).with_variant(variant))?;
            assert!(found == expected, "{label} {tile:?}: {}", variant.name());
        }
    }
    Ok(())
}

#[test]
fn tiles_of_16() -> Result<(), Refusal> {
    of_every_variant_and_thread_count(tile(16, 16))
}

#[test]
fn wide_tiles() -> Result<(), Refusal> {
    of_every_variant_and_thread_count(tile(20, 48))
}

#[test]
fn tiles_of_64() -> Result<(), Refusal> {
    of_every_variant_and_thread_count(tile(64, 64))
}

#[test]
fn rows_of_7() -> Result<(), Refusal> {
    of_every_variant_and_thread_count(tile(1, 7))
}
