//! Instruction set, threads and variant never change the bits.

use super::inputs::Normal;
use super::maps::{recurrences, sized};
use crate::cpu::{ApplyScale, CpuKernel, CpuVariant, InstructionSet, Pool, Workspace};
use crate::tensor::TensorRef;
use himuon_templates::{KernelSpec, Mode, Tile};

fn bits(
    kernel: &CpuKernel,
    threads: usize,
    input: &[f32],
    rows: usize,
    columns: usize,
) -> Vec<u32> {
    let mut output = vec![f32::NAN; rows * columns];
    let (pool, mut workspace) = (Pool::new(threads).expect("a pool"), Workspace::new());
    let input = TensorRef::F32(input);
    kernel
        .map(
            &pool,
            input,
            rows,
            columns,
            &mut output,
            ApplyScale::Rms,
            &mut workspace,
        )
        .expect("a map");
    output.iter().map(|x| x.to_bits()).collect()
}

fn every_variant_and_thread_count(shapes: &[(Tile, usize, usize)]) {
    for set in InstructionSet::ALL {
        if !set.is_available() {
            eprintln!("SKIPPED: this processor has no {}", set.name());
        }
    }
    for &(tile, rows, columns) in shapes {
        let input = Normal::new(21).numbers(rows * columns);
        let mut specs = recurrences(tile);
        specs.push(KernelSpec {
            mode: Mode::Reference,
            ..KernelSpec::new(tile)
        });
        for spec in specs {
            let expected = bits(
                &CpuKernel::new(&spec).expect("a kernel"),
                1,
                &input,
                rows,
                columns,
            );
            for variant in CpuKernel::variants(&spec) {
                let kernel = CpuKernel::with_variant(&spec, variant).expect("a kernel");
                let found = bits(&kernel, 1, &input, rows, columns);
                assert!(found == expected, "{} {spec:?}", variant.name());
            }
            let kernel = CpuKernel::new(&spec).expect("a kernel");
            for threads in [2, 3] {
                let found = bits(&kernel, threads, &input, rows, columns);
                assert!(found == expected, "{threads} threads {spec:?}");
            }
        }
    }
}

#[test]
fn every_variant_and_thread_count_gives_the_same_bits_of_square_tiles() {
    every_variant_and_thread_count(&[
        (Tile::square(16), 40, 36),
        (Tile::square(32), 33, 64),
        (Tile::square(64), 64, 70),
        (sized(9, 50), 10, 60),
    ]);
}

#[test]
fn every_variant_and_thread_count_gives_the_same_bits_of_other_tiles() {
    every_variant_and_thread_count(&[
        (sized(70, 33), 70, 40),
        // Pieces of six rows and four panels end where two, four or five rows are left.
        (sized(80, 64), 80, 70),
        (sized(95, 64), 95, 64),
        (Tile::Full, 40, 144),
    ]);
}

#[test]
fn what_is_no_variant_is_refused() {
    let spec = KernelSpec::new(Tile::square(16));
    let of = |change: fn(&mut CpuVariant)| {
        let mut variant = CpuVariant::new(InstructionSet::Portable);
        change(&mut variant);
        CpuKernel::with_variant(&spec, variant)
    };
    assert!(of(|_| ()).is_ok());
    let changes: [fn(&mut CpuVariant); 6] = [
        |variant| variant.batch = 0,
        |variant| variant.batch = 9,
        |variant| variant.blocking.sum = 0,
        |variant| variant.blocking.sum = 100,
        |variant| variant.blocking.update = 0,
        |variant| variant.blocking.symmetric = 8,
    ];
    for change in changes {
        let error = of(change).unwrap_err().to_string();
        assert!(
            error.contains("portable") && error.contains("CpuKernel::variants"),
            "{error}"
        );
    }
}

/// A tile that all threads share, cut into blocks by each number of threads.
#[test]
fn a_shared_tile_gives_the_bits_of_one_thread() {
    let (rows, columns) = (530, 610);
    let input = Normal::new(22).numbers(rows * columns);
    let specs = recurrences(Tile::Full);
    for spec in [&specs[0], &specs[5], &specs[7]] {
        let kernel = CpuKernel::new(spec).expect("a kernel");
        let expected = bits(&kernel, 1, &input, rows, columns);
        let found = bits(&kernel, 2, &input, rows, columns);
        assert!(found == expected, "{spec:?}");
        let tiled = KernelSpec {
            tile: Tile::square(640),
            ..spec.clone()
        };
        let kernel = CpuKernel::new(&tiled).expect("a kernel");
        assert!(
            bits(&kernel, 3, &input, rows, columns) == expected,
            "{tiled:?}"
        );
    }
}
