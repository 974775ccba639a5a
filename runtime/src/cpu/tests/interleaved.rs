//! Interleaved tiles against those that are mapped one by one: the same bits of everything that a step leaves.

use super::inputs::Normal;
use super::maps::{recurrences, sized};
use super::steps::{SCALARS, State};
use crate::cpu::interleaved::{self, Interleaved, Strip};
use crate::cpu::recurrence;
use crate::cpu::simd::portable::Portable;
use crate::cpu::simd::{LANES, Lanes, Line, Simd};
use crate::cpu::tile::INTERLEAVED;
use crate::cpu::{ApplyScale, CpuKernel, CpuVariant, InstructionSet, Pool, Workspace};
use crate::launch::{LaunchReport, MatrixStep, TileDiagnostics};
use crate::tensor::{TensorMut, TensorRef};
use half::bf16;
use himuon_templates::{Coarse, Element, Fine, KernelSpec, Power, Recurrence, Storage, Tile};
use std::sync::atomic::Ordering::Relaxed;

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
    let before = INTERLEAVED.load(Relaxed);
    for (seed, (tile, rows, columns)) in SHAPES.into_iter().enumerate() {
        let state = State::new(30 + seed as u64, rows, columns);
        for spec in recurrences(tile) {
            compare(&spec, &state, false);
        }
        for spec in recurrences(tile).iter().step_by(4) {
            compare(spec, &state, true);
        }
    }
    // Eleven recurrences of three instruction sets, of which each matrix has a batch at least; other tests only add to them.
    assert!(INTERLEAVED.load(Relaxed) - before >= 11 * SHAPES.len());
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

/// Enough elements for every worker to have ranges of its own, some of which begin in the middle of a row of tiles.
#[test]
fn workers_do_not_touch_each_others_scratch() {
    for edge in [
        (4, 4),
        (8, 4),
        (16, 4),
        (4, 16),
        (12, 8),
        (16, 16),
        (12, 16),
    ] {
        let (rows, columns) = (260, 16 * 40 + 8);
        let input = Normal::new(50).numbers(rows * columns);
        for spec in [
            KernelSpec::new(sized(edge.0, edge.1)),
            KernelSpec {
                power: Power::new(1, 2).expect("a power"),
                recurrence: Recurrence::Fitted,
                ..KernelSpec::new(sized(edge.0, edge.1))
            },
        ] {
            let kernel = CpuKernel::new(&spec).expect("a kernel");
            let map = |threads: usize| {
                let mut output = vec![f32::NAN; rows * columns];
                let mut workspace = Workspace::new();
                let pool = Pool::new(threads).expect("a pool");
                let (input, scale) = (TensorRef::F32(&input), ApplyScale::Rms);
                let output_of = &mut output[..];
                kernel
                    .map(
                        &pool,
                        input,
                        rows,
                        columns,
                        output_of,
                        scale,
                        &mut workspace,
                    )
                    .expect("a map");
                bits(&output)
            };
            assert!(map(4) == map(1), "{edge:?} {spec}");
        }
    }
}

/// The recurrence of sixteen tiles in the lanes of `simd`.
fn in_lanes<S: Simd>(simd: S, spec: &KernelSpec, (rows, columns): (usize, usize)) -> Vec<u32> {
    let table = spec.step_table().expect("a table");
    let slots = recurrence::slots(&table, false);
    let tiles = S::Lanes::TILES;
    let numbers = interleaved::length(rows, columns, tiles, slots);
    let mut scratch = vec![Line([f32::NAN; LANES]); numbers.div_ceil(LANES)];
    let mut normal = Normal::new(70);
    let mut panels = vec![Line::ZERO; tiles * LANES];
    for line in &mut panels {
        for number in &mut line.0[..columns] {
            *number = 0.1 * normal.next();
        }
    }
    let strip = Strip {
        start: panels.as_mut_ptr().cast(),
        apart: LANES * LANES,
        rows,
        panel: LANES * LANES,
    };
    // SAFETY: the scratch is as long as it has to be, and of each tile sixteen rows are there.
    let mapped = unsafe {
        let start = scratch.as_mut_ptr().cast();
        let engine = Interleaved::new(simd, (rows, columns), slots, start, None);
        engine.enter(strip, 0..rows);
        let mapped = recurrence::multiply(&engine, &table, spec.power.to_f64(), false);
        engine.leave(mapped.slot, 0..rows, strip);
        mapped
    };
    let mut found = bits(&mapped.factors);
    found.extend(panels.iter().flat_map(|line| bits(&line.0)));
    found
}

/// Halves of symmetric matrices and pieces of four rows, which only AVX-512 has, in plain Rust.
#[test]
fn halves_give_the_bits_of_whole_matrices() {
    let (narrow, wide): (Portable<false>, Portable<true>) = (Portable, Portable);
    for size in [
        (4, 4),
        (8, 4),
        (8, 8),
        (12, 8),
        (16, 4),
        (12, 12),
        (16, 12),
        (16, 16),
    ] {
        let tile = sized(size.0 as u32, size.1 as u32);
        let specs = recurrences(tile).into_iter();
        for spec in specs.filter(|spec| {
            let table = spec.step_table().expect("a table");
            recurrence::is_made_of_products(&table)
        }) {
            let found = in_lanes(wide, &spec, size);
            assert!(
                found.iter().all(|bits| !f32::from_bits(*bits).is_nan()),
                "{spec}"
            );
            assert!(found == in_lanes(narrow, &spec, size), "{spec}");
        }
    }
}

/// Momentum of sixteen bits comes back as it was where a batch is loaded twice.
#[test]
fn momentum_of_sixteen_bits_survives_unusual_tiles() {
    let (rows, columns) = (16, 16 * 32);
    let state = State::new(80, rows, columns);
    let narrow =
        |numbers: &[f32]| -> Vec<bf16> { numbers.iter().map(|n| bf16::from_f32(*n)).collect() };
    let gradient = {
        let mut gradient = state.gradient.clone();
        gradient[20] = f32::NAN;
        gradient[columns - 1] = 1e25;
        narrow(&gradient)
    };
    let storage = Storage {
        weight: Element::Bf16,
        momentum: Element::Bf16,
        ..Storage::F32
    };
    let spec = KernelSpec {
        storage,
        ..KernelSpec::new(Tile::square(16))
    };
    let step = |interleaved: bool| {
        let variant = CpuVariant {
            interleaved,
            ..CpuVariant::new(InstructionSet::best())
        };
        let (mut weight, mut momentum) = (narrow(&state.weight), narrow(&state.momentum));
        let mut matrices = [MatrixStep {
            rows,
            columns,
            gradient: TensorRef::Bf16(&gradient),
            gradient_leading: columns,
            momentum: TensorMut::Bf16(&mut momentum),
            weight: TensorMut::Bf16(&mut weight),
            weight_leading: columns,
            remainder: None,
            row_normalisation: None,
            coarse: None,
            scalars: SCALARS,
            diagnostics: None,
        }];
        let kernel = CpuKernel::with_variant(&spec, variant).expect("a kernel");
        let report = kernel
            .step(
                &Pool::new(1).expect("a pool"),
                &mut matrices,
                &mut Workspace::new(),
            )
            .expect("a step");
        assert_eq!(report.non_finite_tiles, 1);
        let bits = |numbers: &[bf16]| -> Vec<u16> { numbers.iter().map(|n| n.to_bits()).collect() };
        (bits(&weight), bits(&momentum))
    };
    assert!(step(true) == step(false));
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
            let scale = ApplyScale::Tile;
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
