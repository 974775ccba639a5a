//! The pieces of the sets with many registers, in plain Rust, against those of the sets with few: the same bits on any
//! processor, with AVX-512 or without.

use super::inputs::Normal;
use crate::cpu::ahead::Asked;
use crate::cpu::layout::Panels;
use crate::cpu::pass_length;
use crate::cpu::product::{
    Affine, Combine, Finish, Scaled, SymmetricPart, TransposedPart, UpdatePart, symmetric,
    transposed, update,
};
use crate::cpu::simd::portable::Portable;
use crate::cpu::simd::{InstructionSet, LANES, Line, Simd, WithSimd};

const NARROW: Portable<false> = Portable;
const WIDE: Portable<true> = Portable;

/// A matrix in panels.
#[derive(Clone)]
struct Buffer {
    lines: Vec<Line>,
    /// Rows of a panel, a multiple of sixteen.
    padded: usize,
}

impl Buffer {
    fn new(rows: usize, columns: usize, mut number: impl FnMut(usize, usize) -> f32) -> Buffer {
        let padded = rows.next_multiple_of(LANES);
        let mut lines = vec![Line::ZERO; columns.div_ceil(LANES) * padded];
        for row in 0..rows {
            for column in 0..columns {
                let line = &mut lines[column / LANES * padded + row];
                line.0[column % LANES] = number(row, column);
            }
        }
        Buffer { lines, padded }
    }

    fn normal(seed: u64, rows: usize, columns: usize) -> Buffer {
        let numbers = Normal::new(seed).numbers(rows * columns);
        Buffer::new(rows, columns, |row, column| numbers[row * columns + column])
    }

    /// NaN everywhere, so that a number that is not written shows.
    fn unwritten(rows: usize, columns: usize) -> Buffer {
        let (rows, columns) = (
            rows.next_multiple_of(LANES),
            columns.next_multiple_of(LANES),
        );
        Buffer::new(rows, columns, |_, _| f32::NAN)
    }

    fn panels(&mut self) -> Panels {
        Panels {
            start: self.lines.as_mut_ptr().cast(),
            stride: self.padded * LANES,
        }
    }

    /// The numbers of the first rows and columns; padding is nobody's.
    fn bits(&self, rows: usize, columns: usize) -> Vec<u32> {
        (0..rows)
            .flat_map(|row| (0..columns).map(move |column| self.at(row, column).to_bits()))
            .collect()
    }

    fn at(&self, row: usize, column: usize) -> f32 {
        self.lines[column / LANES * self.padded + row].0[column % LANES]
    }

    /// Gives the first rows and columns the numbers above the diagonal below it.
    fn mirror(&mut self, edge: usize) {
        for row in 0..edge {
            for column in 0..row {
                let number = self.at(column, row);
                self.lines[column / LANES * self.padded + row].0[column % LANES] = number;
            }
        }
    }
}

/// B^T B, or linear B + factor B^T B where B is square.
fn symmetric_bits<S: Simd, const INLINE: bool>(
    simd: S,
    (depth, columns): (usize, usize),
    (width, sum): (usize, usize),
    (affine, factor): (bool, f32),
) -> Vec<u32> {
    let mut input = Buffer::normal(31, depth, columns);
    let mut output = Buffer::unwritten(columns, columns);
    if affine {
        // Only a symmetric B has a symmetric result.
        input.mirror(columns);
    }
    let base = input.panels();
    let finish = match affine {
        true => Finish::Affine(Affine {
            base,
            linear: -1.5,
            factor,
        }),
        false => Finish::Scaled(Scaled { factor }),
    };
    let panels = columns.div_ceil(LANES);
    let part = SymmetricPart {
        input: base,
        depth,
        output: output.panels(),
        rows: 0..panels,
        columns: 0..panels,
        width,
        sum,
        asked: Asked::NOTHING,
    };
    // SAFETY: the buffers have these rows and panels, sixteen rows to a panel of the output, and are not shared.
    unsafe { symmetric::<S, INLINE>(simd, part, finish) };
    output.bits(columns, columns)
}

/// L R with each way to finish it.
fn update_bits<S: Simd, const INLINE: bool>(
    simd: S,
    (rows, depth): (usize, usize),
    (width, sum): (usize, usize),
    kind: usize,
) -> Vec<u32> {
    let (mut left, mut right) = (
        Buffer::normal(32, rows, depth),
        Buffer::normal(33, depth, depth),
    );
    let (mut other, mut output) = (
        Buffer::normal(34, rows, depth),
        Buffer::unwritten(rows, depth),
    );
    let finish = match kind {
        0 => Finish::Scaled(Scaled { factor: 0.75 }),
        1 => Finish::Affine(Affine {
            base: left.panels(),
            linear: 3.4,
            factor: 1.0,
        }),
        2 => Finish::Scaled(Scaled { factor: 1.0 }),
        _ => {
            output = Buffer::normal(35, rows, depth);
            Finish::Combine(Combine {
                y: (output.panels(), 0.5),
                x: (other.panels(), -0.25),
            })
        }
    };
    let part = UpdatePart {
        left: left.panels(),
        right: right.panels(),
        depth,
        output: output.panels(),
        rows: 0..rows,
        columns: 0..depth.div_ceil(LANES),
        width,
        sum,
        asked: Asked::NOTHING,
    };
    // SAFETY: as above; the output overlaps neither operand.
    unsafe { update::<S, INLINE>(simd, part, finish) };
    output.bits(rows, depth)
}

fn transposed_bits<S: Simd>(
    simd: S,
    depth: usize,
    (left_columns, columns): (usize, usize),
    width: usize,
) -> Vec<u32> {
    let (mut left, mut right) = (
        Buffer::normal(36, depth, left_columns),
        Buffer::normal(37, depth, columns),
    );
    let mut output = Buffer::unwritten(left_columns, columns);
    let part = TransposedPart {
        left: left.panels(),
        left_panels: left_columns.div_ceil(LANES),
        right: right.panels(),
        depth,
        output: output.panels(),
        panels: columns.div_ceil(LANES),
        width,
    };
    // SAFETY: as above.
    unsafe { transposed(simd, &part) };
    output.bits(left_columns, columns)
}

/// (rows, columns), rows >= columns: one to eight panels, ragged ends.
const SHAPES: [(usize, usize); 13] = [
    (16, 16),
    (17, 9),
    (32, 32),
    (48, 48),
    (50, 33),
    (64, 64),
    (80, 64),
    (95, 64),
    (96, 80),
    (128, 128),
    (130, 70),
    (200, 112),
    (300, 144),
];

/// Lengths of a pass: the default, which cuts none of these sums, and one that cuts those of more than 128 terms.
const PASSES: [usize; 2] = [128, 32];

/// Ways to finish a symmetric product; a factor of 1 is not multiplied with.
const FINISHES: [(bool, f32); 4] = [(false, 0.75), (false, 1.0), (true, 0.75), (true, 1.0)];

#[test]
fn sums_of_more_than_four_passes_are_cut() {
    let passes = |depth: usize| depth.div_ceil(pass_length(depth, 128));
    assert_eq!([16, 512, 513].map(passes), [1, 1, 5]);
}

#[test]
fn wide_symmetric_products_give_the_bits_of_narrow_ones() {
    for shape in SHAPES {
        for finish in FINISHES {
            let shape = if finish.0 { (shape.1, shape.1) } else { shape };
            let expected = symmetric_bits::<_, false>(NARROW, shape, (4, 128), finish);
            let finite = |bits: &u32| f32::from_bits(*bits).is_finite();
            assert!(expected.iter().all(finite), "{shape:?} {finish:?}");
            for cut in [1, 2, 3]
                .into_iter()
                .flat_map(|width| PASSES.map(|sum| (width, sum)))
            {
                let case = format!("{shape:?} width, pass {cut:?} {finish:?}");
                let found = symmetric_bits::<_, false>(WIDE, shape, cut, finish);
                assert!(found == expected, "{case}");
                let found = symmetric_bits::<_, true>(WIDE, shape, cut, finish);
                assert!(found == expected, "{case} inline");
            }
        }
    }
}

/// Both products of one shape, cut in every way, by the instructions of a set.
struct OfASet((usize, usize));

impl WithSimd for OfASet {
    type Output = ();
    fn with<S: Simd>(self, simd: S) {
        let shape = self.0;
        for sum in PASSES {
            for (width, finish) in [1, 2, 3].into_iter().flat_map(|w| FINISHES.map(|f| (w, f))) {
                let shape = if finish.0 { (shape.1, shape.1) } else { shape };
                let expected = symmetric_bits::<_, false>(NARROW, shape, (4, 128), finish);
                let found = symmetric_bits::<_, false>(simd, shape, (width, sum), finish);
                assert!(found == expected, "{shape:?} {width} {sum} {finish:?}");
            }
            for (width, kind) in [1, 2, 3, 4]
                .into_iter()
                .flat_map(|w| [0, 1, 2, 3].map(|k| (w, k)))
            {
                let expected = update_bits::<_, false>(NARROW, shape, (4, 128), kind);
                let found = update_bits::<_, false>(simd, shape, (width, sum), kind);
                assert!(found == expected, "{shape:?} {width} {sum} finish {kind}");
            }
        }
    }
}

#[test]
fn products_of_avx512_give_the_bits_of_plain_ones_with_and_without_a_pause() {
    if !InstructionSet::Avx512.is_available() {
        return println!("SKIPPED: this processor has no AVX-512");
    }
    for shape in [(130, 70), (200, 112), (300, 144)] {
        InstructionSet::Avx512.with(OfASet(shape));
    }
}

/// The numbers of B^T B and of linear B + B^T B, one chain of fused multiply-adds each, where nothing is multiplied by 1.
#[test]
fn a_factor_of_one_leaves_the_sums_as_they_are() {
    let (rows, columns) = (50, 50);
    for (affine, factor) in [(false, 1.0), (true, 1.0)] {
        let mut input = Buffer::normal(31, rows, columns);
        if affine {
            input.mirror(columns);
        }
        let expected = (0..rows)
            .flat_map(|i| (0..columns).map(move |j| (i, j)))
            .map(|(i, j)| {
                let chain =
                    (0..rows).fold(0.0, |sum, k| input.at(k, i).mul_add(input.at(k, j), sum));
                let finished = if affine {
                    (-1.5_f32).mul_add(input.at(i, j), chain)
                } else {
                    chain
                };
                finished.to_bits()
            });
        let expected: Vec<u32> = expected.collect();
        let found = symmetric_bits::<_, false>(WIDE, (rows, columns), (3, 128), (affine, factor));
        assert!(found == expected, "affine {affine}");
    }
}

#[test]
fn wide_multiplications_give_the_bits_of_narrow_ones() {
    for shape in SHAPES {
        for kind in 0..4 {
            let expected = update_bits::<_, false>(NARROW, shape, (4, 128), kind);
            let finite = |bits: &u32| f32::from_bits(*bits).is_finite();
            assert!(expected.iter().all(finite), "{shape:?} finish {kind}");
            for cut in [1, 2, 3, 4]
                .into_iter()
                .flat_map(|width| PASSES.map(|sum| (width, sum)))
            {
                let case = format!("{shape:?} width, pass {cut:?} finish {kind}");
                let found = update_bits::<_, false>(WIDE, shape, cut, kind);
                assert!(found == expected, "{case}");
                let found = update_bits::<_, true>(WIDE, shape, cut, kind);
                assert!(found == expected, "{case} inline");
            }
        }
    }
}

#[test]
fn wide_transposed_products_give_the_bits_of_narrow_ones() {
    for (depth, columns) in SHAPES {
        let expected = transposed_bits(NARROW, depth, (columns, 40), 1);
        for width in [1, 2, 3] {
            let found = transposed_bits(WIDE, depth, (columns, 40), width);
            assert!(found == expected, "{depth} {columns} width {width}");
        }
    }
}

/// Pieces of four, five and six rows, and sums that pause at 128 and at 256.
#[test]
fn narrow_products_give_the_same_bits_in_pieces_of_any_size() {
    for shape in SHAPES {
        let expected = symmetric_bits::<_, false>(NARROW, shape, (4, 128), FINISHES[0]);
        let products =
            [0, 1, 2, 3].map(|kind| update_bits::<_, false>(NARROW, shape, (4, 128), kind));
        for pieces in [4, 5, 6]
            .into_iter()
            .flat_map(|rows| [(rows, 128), (rows, 256)])
        {
            let found = symmetric_bits::<_, false>(NARROW, shape, pieces, FINISHES[0]);
            assert!(found == expected, "{shape:?} {pieces:?}");
            let found = symmetric_bits::<_, true>(NARROW, shape, pieces, FINISHES[0]);
            assert!(found == expected, "{shape:?} {pieces:?} inline");
            for (kind, expected) in products.iter().enumerate() {
                let found = update_bits::<_, false>(NARROW, shape, pieces, kind);
                assert!(found == *expected, "{shape:?} {pieces:?} finish {kind}");
                let found = update_bits::<_, true>(NARROW, shape, pieces, kind);
                assert!(
                    found == *expected,
                    "{shape:?} {pieces:?} finish {kind} inline"
                );
            }
        }
    }
}
