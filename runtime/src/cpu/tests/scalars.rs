//! Tiles of one element: the path of their own gives the bits of the path that every other tile takes.

use super::inputs::Normal;
use super::maps::recurrences;
use super::steps::SCALARS;
use crate::cpu::{CpuKernel, Pool, Workspace};
use crate::launch::{MatrixStep, TileDiagnostics};
use crate::tensor::{TensorMut, TensorRef};
use himuon_templates::{KernelSpec, Tile};

/// A gradient of every magnitude, with zeros and tiles that are not finite.
fn gradient(rows: usize, columns: usize) -> Vec<f32> {
    let mut numbers = Normal::new(31).numbers(rows * columns);
    for (index, number) in numbers.iter_mut().enumerate() {
        *number *= [1.0, 1e-38, 1e30, 0.0, -1e-20, 3e-42][index % 6];
    }
    (numbers[5], numbers[columns + 9]) = (f32::NAN, f32::INFINITY);
    numbers
}

/// Weight and momentum after one step, and the number of non-finite tiles; with diagnostics every tile is a matrix of
/// its own.
fn step(spec: &KernelSpec, diagnosed: bool, threads: usize) -> (Vec<u32>, Vec<u32>, usize) {
    let (rows, columns) = (3, 1500);
    let gradient = gradient(rows, columns);
    let mut momentum = Normal::new(32).numbers(rows * columns);
    // Where the gradient is zero or tiny, M is too.
    for (momentum, gradient) in momentum.iter_mut().zip(&gradient) {
        *momentum *= gradient.abs().min(1.0);
    }
    let mut weight = Normal::new(33).numbers(rows * columns);
    let mut diagnostics = vec![TileDiagnostics::default(); rows * columns];
    let mut matrices = [MatrixStep {
        rows,
        columns,
        gradient: TensorRef::F32(&gradient),
        gradient_leading: columns,
        momentum: TensorMut::F32(&mut momentum),
        weight: TensorMut::F32(&mut weight),
        weight_leading: columns,
        remainder: None,
        row_normalisation: None,
        coarse: None,
        scalars: SCALARS,
        diagnostics: diagnosed.then_some(&mut diagnostics),
    }];
    let kernel = CpuKernel::new(spec).expect("a kernel");
    let pool = Pool::new(threads).expect("a pool");
    let report = kernel
        .step(&pool, &mut matrices, &mut Workspace::new())
        .expect("a step");
    let bits = |numbers: &[f32]| numbers.iter().map(|x| x.to_bits()).collect();
    (bits(&weight), bits(&momentum), report.non_finite_tiles)
}

#[test]
fn their_own_path_gives_the_same_bits() {
    for spec in recurrences(Tile::square(1)) {
        let expected = step(&spec, true, 1);
        if spec.power.to_f64() == 0.0 {
            assert!(expected.2 >= 2, "{spec:?}: {} non-finite tiles", expected.2);
        }
        for threads in [1, 3] {
            let found = step(&spec, false, threads);
            assert!(found == expected, "{threads} threads {spec:?}");
        }
    }
}
