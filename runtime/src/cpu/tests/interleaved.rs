//! Interleaved tiles against those that are mapped one by one: the same bits of everything that a step leaves.

use super::inputs::Normal;
use super::maps::{recurrences, sized};
use super::steps::{SCALARS, State};
use crate::cpu::{CpuKernel, CpuVariant, InstructionSet, Pool, Workspace};
use crate::launch::{LaunchReport, MatrixStep, TileDiagnostics};
use crate::tensor::{TensorMut, TensorRef};
use himuon_templates::{Coarse, Fine, KernelSpec, Tile};

/// What a step leaves: weights, momentum, report and what is known of each tile.
type Left = (Vec<u32>, Vec<u32>, LaunchReport, Option<Vec<[u32; 3]>>);

fn bits(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|number| number.to_bits()).collect()
}

/// A step of `state`, with or without interleaving, on tensors whose rows are five numbers longer.
fn step(spec: &KernelSpec, variant: CpuVariant, state: &State, diagnosed: bool) -> Left {
    let leading = state.columns + 5;
    let stretched = |numbers: &[f32]| -> Vec<f32> {
        let mut stretched = vec![7.0; state.rows * leading];
        for (to, from) in stretched
            .chunks_mut(leading)
            .zip(numbers.chunks(state.columns))
        {
            to[..state.columns].copy_from_slice(from);
        }
        stretched
    };
    let gradient = stretched(&state.gradient);
    let (mut weight, mut momentum) = (stretched(&state.weight), state.momentum.clone());
    let kernel = CpuKernel::with_variant(spec, variant).expect("a kernel");
    let (height, width) = spec.tile.effective(state.rows, state.columns);
    let tiles = state.rows.div_ceil(height) * state.columns.div_ceil(width);
    let mut diagnostics = vec![TileDiagnostics::default(); tiles];
    let mut matrices = [MatrixStep {
        rows: state.rows,
        columns: state.columns,
        gradient: TensorRef::F32(&gradient),
        gradient_leading: leading,
        momentum: TensorMut::F32(&mut momentum),
        weight: TensorMut::F32(&mut weight),
        weight_leading: leading,
        remainder: None,
        row_normalisation: None,
        coarse: None,
        scalars: SCALARS,
        diagnostics: diagnosed.then_some(&mut diagnostics[..]),
    }];
    let report = kernel
        .step(
            &Pool::new(2).expect("a pool"),
            &mut matrices,
            &mut Workspace::new(),
        )
        .expect("a step");
    let figures =
        |d: &TileDiagnostics| [d.norm, d.inner_product, d.mapped_norm_squared].map(f32::to_bits);
    let figures = diagnosed.then(|| diagnostics.iter().map(figures).collect());
    (bits(&weight), bits(&momentum), report, figures)
}

/// Steps with every instruction set, interleaved and not.
fn compare(spec: &KernelSpec, state: &State, diagnosed: bool) {
    let mut expected = None;
    for set in InstructionSet::ALL {
        if !set.is_available() {
            eprintln!("SKIPPED: this processor has no {}", set.name());
            continue;
        }
        for interleaved in [false, true] {
            let variant = CpuVariant {
                interleaved,
                ..CpuVariant::new(set)
            };
            let found = step(spec, variant, state, diagnosed);
            let expected = expected.get_or_insert_with(|| found.clone());
            assert!(
                found == *expected,
                "{} {spec:?} {}x{}",
                variant.name(),
                state.rows,
                state.columns
            );
        }
    }
}

/// Tiles that fill all lanes, most of them, and too few.
const SHAPES: [(Tile, usize, usize); 10] = [
    (Tile::square(16), 36, 16 * 29 + 6),
    (Tile::square(12), 30, 12 * 13 + 7),
    (Tile::square(8), 20, 8 * 30),
    (Tile::square(4), 9, 4 * 50 + 3),
    (
        Tile::Sized {
            rows: 16,
            columns: 8,
        },
        40,
        8 * 27,
    ),
    (
        Tile::Sized {
            rows: 4,
            columns: 12,
        },
        11,
        12 * 22 + 5,
    ),
    (Tile::square(16), 50, 16 * 9),
    // Whole rows of tiles, the last one ragged.
    (Tile::square(16), 16 * 17 + 5, 16),
    (Tile::square(8), 8 * 11, 24),
    (Tile::square(4), 4 * 9 + 1, 4 * 5 + 2),
];

#[test]
fn every_recurrence_gives_the_same_bits() {
    for (seed, (tile, rows, columns)) in SHAPES.into_iter().enumerate() {
        let state = State::new(30 + seed as u64, rows, columns);
        for spec in recurrences(tile) {
            compare(&spec, &state, false);
        }
        for spec in recurrences(tile).iter().step_by(4) {
            compare(spec, &state, true);
        }
    }
}

/// One unusual tile among ordinary ones: the whole batch takes the other way, and every tile is treated as alone.
#[test]
fn unusual_tiles_change_nothing() {
    for (tile, rows, columns) in SHAPES {
        let spec = KernelSpec::new(tile);
        let ordinary = State::new(40, rows, columns);
        for (gradient, momentum) in [
            (f32::NAN, 1.0),
            (1.0, f32::INFINITY),
            (1e25, 0.0),
            (1e-30, 0.0),
            (0.0, 0.0),
        ] {
            let mut state = ordinary.clone();
            let (height, width) = tile.effective(rows, columns);
            for row in 0..height {
                for column in 2 * width..3 * width {
                    let at = row * columns + column;
                    state.gradient[at] *= gradient;
                    state.momentum[at] *= momentum;
                }
            }
            compare(&spec, &state, false);
            compare(&spec, &state, true);
        }
        let zero = State {
            gradient: vec![0.0; rows * columns],
            momentum: vec![0.0; rows * columns],
            ..ordinary.clone()
        };
        compare(&spec, &zero, false);
    }
}

/// A launch of tiles that are interleaved does not touch the scratch of its neighbours: more threads than matrices have
/// rows of tiles, each with the least scratch that a launch asks for.
#[test]
fn scratch_is_enough_for_every_size() {
    for edge in [
        (4, 4),
        (8, 4),
        (16, 4),
        (4, 16),
        (12, 8),
        (16, 16),
        (12, 16),
    ] {
        let spec = KernelSpec::new(sized(edge.0, edge.1));
        let (rows, columns) = (64, 16 * 16 + 8);
        let input = Normal::new(50).numbers(rows * columns);
        let kernel = CpuKernel::new(&spec).expect("a kernel");
        let map = |threads: usize| {
            let mut output = vec![f32::NAN; rows * columns];
            let mut workspace = Workspace::new();
            let pool = Pool::new(threads).expect("a pool");
            let scale = crate::cpu::ApplyScale::Tile;
            kernel
                .map(
                    &pool,
                    TensorRef::F32(&input),
                    rows,
                    columns,
                    &mut output,
                    scale,
                    &mut workspace,
                )
                .expect("a map");
            bits(&output)
        };
        assert!(map(1) == map(4), "{edge:?}");
    }
}

/// Coupled tiles are loaded one by one, and mapped together all the same.
#[test]
fn coupled_tiles_give_the_same_bits() {
    for fine in [Fine::Projected, Fine::Fused] {
        let spec = KernelSpec {
            coarse: Coarse::Polar { rank: 4, fine },
            ..KernelSpec::new(Tile::square(8))
        };
        let (rows, columns) = (24, 8 * 19);
        let input = Normal::new(60).numbers(rows * columns);
        let map = |variant: CpuVariant| {
            let kernel = CpuKernel::with_variant(&spec, variant).expect("a kernel");
            let mut output = vec![f32::NAN; rows * columns];
            let (pool, mut workspace) = (Pool::new(1).expect("a pool"), Workspace::new());
            let scale = crate::cpu::ApplyScale::Tile;
            kernel
                .map(
                    &pool,
                    TensorRef::F32(&input),
                    rows,
                    columns,
                    &mut output,
                    scale,
                    &mut workspace,
                )
                .expect("a map");
            bits(&output)
        };
        let default = CpuVariant::new(InstructionSet::best());
        let alone = CpuVariant {
            interleaved: false,
            ..default
        };
        assert!(map(default) == map(alone), "{spec}");
    }
}
