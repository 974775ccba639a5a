//! Two levels against the reference's, and against themselves on other threads and instruction sets.

use super::coupled::{COUPLED, Exact, State, distance, launch, spec, tile};
use super::inputs::{Normal, low_rank};
use super::steps::SCALARS;
use crate::cpu::{CpuKernel, CpuVariant, InstructionSet, Pool, Workspace};
use crate::launch::TileDiagnostics;
use crate::reference::{Matrix, ReferenceMap, step};
use himuon_templates::{Coarse, CoefficientSet, Fine, KernelSpec, Power, Recurrence, Tile};

/// Relative Frobenius distance of weights and momentum after up to three steps on Gaussian gradients; worst measured 1.7e-5.
const TOLERANCE: f64 = 6e-5;

#[test]
fn steps_agree_with_the_reference() {
    let mut worst = 0.0_f64;
    for (rows, columns) in [(96, 80), (50, 70), (33, 101)] {
        for (tile, rank) in [
            (tile(16, 16), 8),
            (tile(32, 32), 20),
            (tile(24, 9), 16),
            (tile(7, 40), 3),
            (tile(1, 1), 8),
        ] {
            for fine in [Fine::Projected, Fine::Fused, Fine::Nothing] {
                let spec = spec(tile, rank, fine);
                let state = State::random(&spec, 1, rows, columns);
                for refreshes in [&[true, true, true][..], &[true, false, false]] {
                    let distance = distance(&spec, state.clone(), refreshes);
                    assert!(
                        distance < TOLERANCE,
                        "{rows}x{columns} {spec} {refreshes:?}: {distance:e}"
                    );
                    worst = worst.max(distance);
                }
            }
        }
    }
    println!("worst {worst:e}");
}

#[test]
fn powers_and_normalised_rows_agree_with_the_reference() {
    let mut worst = 0.0_f64;
    for fine in [Fine::Projected, Fine::Fused, Fine::Nothing] {
        for (power, normalised) in [((1, 2), false), ((1, 3), true), ((0, 1), true)] {
            let mut spec = spec(tile(16, 16), 12, fine);
            if power.0 > 0 {
                spec.power = Power::new(power.0, power.1).unwrap();
                spec.recurrence = Recurrence::Coupled;
                spec.steps = 8;
            }
            let mut state = State::random(&spec, 2, 60, 44);
            state.moments = normalised.then(|| vec![0.0; 60]);
            let distance = distance(&spec, state, &[true, true, false]);
            // Gaussian; worst measured 1.6e-6.
            assert!(distance < 1e-5, "{spec} {normalised}: {distance:e}");
            worst = worst.max(distance);
        }
    }
    println!("worst {worst:e}");
}

#[test]
fn difficult_matrices_agree_with_the_reference() {
    for fine in [Fine::Projected, Fine::Fused] {
        let spec = spec(tile(16, 16), 8, fine);
        let scaled = |factor: f32| -> Vec<f32> {
            Normal::new(3)
                .numbers(48 * 40)
                .iter()
                .map(|v| factor * v)
                .collect()
        };
        // Rank 3 of 8: five columns collapse, and no tile has anything left. Rank 4 with noise: the noise is captured too.
        for (name, gradient, tolerance) in [
            ("rank 3", low_rank(4, 48, 40, 3, 0.0), 5e-5),
            ("rank 4 with noise", low_rank(5, 48, 40, 4, 1e-2), 2e-4),
            ("huge", scaled(1e20), TOLERANCE),
            ("tiny", scaled(1e-25), TOLERANCE),
        ] {
            let state = State::of(&spec, gradient, 48, 40);
            let distance = distance(&spec, state, &[true, true]);
            assert!(distance < tolerance, "{name} {fine:?}: {distance:e}");
        }
        let zero = State::of(&spec, vec![0.0; 48 * 40], 48, 40);
        let mut states = [zero];
        let report = launch(&CpuKernel::new(&spec).unwrap(), &mut states, SCALARS, 1);
        assert_eq!(report.uncoupled_matrices, 0);
        assert!(states[0].weight.iter().all(|w| *w == 0.0));
    }
}

#[test]
fn at_full_rank_the_step_is_that_of_the_whole_matrix() {
    for (rows, columns) in [(40, 40), (30, 50), (50, 30)] {
        let mut whole = KernelSpec::new(Tile::Full);
        whole.recurrence = Recurrence::NewtonSchulz(CoefficientSet::Quintic);
        whole.steps = 10;
        let coupled = KernelSpec {
            coarse: Coarse::Polar {
                rank: 64,
                fine: Fine::Projected,
            },
            tile: Tile::square(16),
            ..whole.clone()
        };
        let mut gradient = Normal::new(6).numbers(rows * columns);
        // A square Gaussian matrix has singular values that ten quintic steps do not bring to 1.
        for i in 0..rows.min(columns) {
            gradient[i * columns + i] += if rows == columns { 20.0 } else { 0.0 };
        }
        let mut states = [State::of(&coupled, gradient, rows, columns)];
        let mut exact = Exact::of(&coupled, &states[0]);
        launch(&CpuKernel::new(&coupled).unwrap(), &mut states, SCALARS, 2);
        step(
            &ReferenceMap::new(&whole).unwrap(),
            &SCALARS,
            &exact.gradient,
            &mut exact.state,
        )
        .unwrap();
        let found = Matrix::from_f32(rows, columns, &states[0].weight);
        let distance =
            found.combined(1.0, -1.0, &exact.state.weight).norm() / exact.state.weight.norm();
        assert!(distance < 1e-4, "{rows}x{columns}: {distance:e}");
    }
}

#[test]
fn a_matrix_that_is_not_finite_takes_its_tiles_alone() {
    for (fine, place) in [(Fine::Projected, "gradient"), (Fine::Fused, "momentum")] {
        let coupled = spec(tile(16, 16), 8, fine);
        let mut before = State::random(&coupled, 7, 40, 40);
        before.momentum = Normal::new(8).numbers(1600);
        before.basis = Normal::new(9).numbers(before.basis.len());
        match place {
            "gradient" => before.gradient[45] = f32::NAN,
            _ => before.momentum[45] = f32::INFINITY,
        }
        let mut states = [before.clone(), State::random(&coupled, 10, 40, 40)];
        let report = launch(&CpuKernel::new(&coupled).unwrap(), &mut states, SCALARS, 2);
        assert_eq!((report.uncoupled_matrices, report.non_finite_tiles), (1, 1));
        let mut alone = [before.clone()];
        launch(
            &CpuKernel::new(&coupled.tiles_alone()).unwrap(),
            &mut alone,
            SCALARS,
            1,
        );
        assert_eq!(states[0].weight, alone[0].weight);
        assert_eq!(states[0].basis, before.basis);
        assert!(states[1].basis.iter().any(|v| *v != 0.0));
    }
}

#[test]
fn a_matrix_whose_products_overflow_takes_its_tiles_alone() {
    let coupled = spec(tile(16, 16), 8, Fine::Fused);
    // Finite, and so is every tile's norm after its scaling. A sum over a row is not; or every sum is, and the norm of M V is not.
    for size in [1e38, 1e37] {
        overflows(&coupled, size);
    }
}

fn overflows(coupled: &KernelSpec, size: f32) {
    let mut before = State::random(coupled, 7, 40, 40);
    before.gradient.fill(size);
    before.basis = (0..before.basis.len())
        .map(|index| {
            if index % 8 == 0 {
                40f32.sqrt().recip()
            } else {
                0.0
            }
        })
        .collect();
    let mut states = [before.clone()];
    let report = launch(&CpuKernel::new(coupled).unwrap(), &mut states, SCALARS, 2);
    assert_eq!((report.uncoupled_matrices, report.non_finite_tiles), (1, 0));
    let mut alone = [before.clone()];
    let kernel = CpuKernel::new(&coupled.tiles_alone()).unwrap();
    launch(&kernel, &mut alone, SCALARS, 1);
    assert_eq!(states[0].weight, alone[0].weight);
    assert_ne!(states[0].weight, before.weight);
    assert_eq!(states[0].basis, before.basis);
}

#[test]
fn threads_instruction_sets_and_company_do_not_change_a_bit() {
    let shapes = [(70, 50), (128, 33), (16, 16), (20, 90)];
    for fine in [Fine::Projected, Fine::Fused, Fine::Nothing] {
        let spec = spec(tile(16, 24), 10, fine);
        let fresh = || -> Vec<State> {
            let numbered = shapes.iter().enumerate();
            numbered
                .map(|(seed, (rows, columns))| State::random(&spec, seed as u64, *rows, *columns))
                .collect()
        };
        let run = |kernel: &CpuKernel, states: &mut [State], threads: usize| {
            for refresh in [true, false, true] {
                states.iter_mut().for_each(|state| state.refresh = refresh);
                launch(kernel, states, COUPLED, threads);
            }
        };
        let mut expected = fresh();
        run(&CpuKernel::new(&spec).unwrap(), &mut expected, 1);
        let same = |found: &[State], name: &str| {
            for (found, expected) in found.iter().zip(&expected) {
                assert_eq!(found.weight, expected.weight, "{name}");
                assert_eq!(found.momentum, expected.momentum, "{name}");
                assert_eq!(found.basis, expected.basis, "{name}");
            }
        };
        for threads in [2, 3] {
            let mut found = fresh();
            run(&CpuKernel::new(&spec).unwrap(), &mut found, threads);
            same(&found, &format!("{threads} threads"));
        }
        for set in InstructionSet::ALL
            .into_iter()
            .filter(|set| set.is_available())
        {
            let kernel = CpuKernel::with_variant(&spec, CpuVariant::new(set)).unwrap();
            let mut found = fresh();
            run(&kernel, &mut found, 2);
            same(&found, set.name());
        }
        let mut alone = fresh();
        for state in &mut alone {
            run(
                &CpuKernel::new(&spec).unwrap(),
                std::slice::from_mut(state),
                1,
            );
        }
        same(&alone, "one by one");
    }
}

/// Tiles of one element have a path of their own; with diagnostics they take the one of all other tiles.
#[test]
fn single_elements_get_the_bits_of_any_other_tile() {
    let bits = |numbers: &[f32]| -> Vec<u32> { numbers.iter().map(|x| x.to_bits()).collect() };
    for fine in [Fine::Projected, Fine::Fused, Fine::Nothing] {
        let spec = spec(tile(1, 1), 4, fine);
        let kernel = CpuKernel::new(&spec).unwrap();
        for (rows, columns) in [(21, 150), (7, 33), (40, 16)] {
            // Rank 2 with some noise in every third number: elsewhere little but rounding is left.
            let mut gradient = low_rank(12, rows, columns, 2, 0.0);
            let noise = Normal::new(13).numbers(rows * columns);
            for (number, noise) in gradient.iter_mut().zip(noise).step_by(3) {
                *number += 0.1 * noise;
            }
            let step = |diagnosed: bool, threads: usize| {
                let mut state = State::of(&spec, gradient.clone(), rows, columns);
                let mut diagnostics = vec![TileDiagnostics::default(); rows * columns];
                for _ in 0..2 {
                    let mut matrices = [state.matrix(COUPLED)];
                    matrices[0].diagnostics = diagnosed.then_some(&mut diagnostics);
                    let pool = Pool::new(threads).unwrap();
                    kernel
                        .step(&pool, &mut matrices, &mut Workspace::new())
                        .unwrap();
                }
                (bits(&state.weight), bits(&state.momentum))
            };
            let expected = step(true, 1);
            for threads in [1, 3] {
                let found = step(false, threads);
                assert!(
                    found == expected,
                    "{rows}x{columns} {fine:?} {threads} threads"
                );
            }
        }
    }
}

#[test]
fn a_basis_that_is_missing_or_too_short_is_refused() {
    let spec = spec(tile(16, 16), 8, Fine::Projected);
    let kernel = CpuKernel::new(&spec).unwrap();
    let mut state = State::random(&spec, 11, 40, 40);
    state.basis = vec![0.0; 40 * 16];
    let mut matrices = [state.matrix(SCALARS)];
    let pool = Pool::new(1).unwrap();
    let mut refused = |capacity: Option<usize>| {
        match (capacity, &mut matrices[0].coarse) {
            (Some(capacity), Some(basis)) => basis.capacity = capacity,
            (_, basis) => *basis = None,
        }
        let mut workspace = Workspace::new();
        let error = kernel.step(&pool, &mut matrices, &mut workspace);
        error.unwrap_err().to_string()
    };
    for (capacity, says) in [
        (7, "of the coarse basis is 7, at least its 8 columns"),
        (0, "of the coarse basis is 0, at least its 8 columns"),
        (17, "coarse basis holds 640 numbers, 680"),
        // 40 times as many are 640 more than a multiple of 2^64.
        (
            (1 << 61) + 16,
            "coarse basis holds 640 numbers, 18446744073709551615",
        ),
    ] {
        let error = refused(Some(capacity));
        assert!(error.contains(says), "{error}");
    }
    let error = refused(None);
    assert!(
        error.contains("coarse basis holds 0 numbers, 320"),
        "{error}"
    );
}
