//! Fragments are filled and read back by the formulas of the PTX manual ("Matrix fragments for mma"), written here as
//! functions from a lane and a register to a row and a column; products are plain sums.

use half::{bf16, f16};

use crate::common::{Numbers, le_bytes32, words32};
use crate::harness::{kernel, run};
use himuon_emulator::{Device, DeviceConfig};

/// Row and column of element `element` (0 or 1 of a packed pair) of A's register, for 16-bit factors.
fn a16(lane: usize, register: usize, element: usize) -> (usize, usize) {
    let (group, thread) = (lane / 4, lane % 4);
    let row = if register.is_multiple_of(2) {
        group
    } else {
        group + 8
    };
    (
        row,
        thread * 2 + element + if register >= 2 { 8 } else { 0 },
    )
}

fn b16(lane: usize, register: usize, element: usize) -> (usize, usize) {
    (lane % 4 * 2 + element + 8 * register, lane / 4)
}

fn a_tf32(lane: usize, register: usize) -> (usize, usize) {
    (
        if register.is_multiple_of(2) {
            lane / 4
        } else {
            lane / 4 + 8
        },
        if register < 2 { lane % 4 } else { lane % 4 + 4 },
    )
}

fn b_tf32(lane: usize, register: usize) -> (usize, usize) {
    (lane % 4 + 4 * register, lane / 4)
}

/// Row and column of register i of an f32 accumulator.
fn c32(lane: usize, i: usize) -> (usize, usize) {
    (
        if i < 2 { lane / 4 } else { lane / 4 + 8 },
        lane % 4 * 2 + (i & 1),
    )
}

/// Runs one mma: each lane loads its registers of A, B and C from consecutive words and stores those of D.
fn mma(
    opcode: &str,
    counts: [usize; 4],
    word: impl Fn(usize, usize, usize) -> u32,
) -> Vec<Vec<u32>> {
    let [d, a, b, c] = counts;
    let sources = a + b + c;
    let list = |name: &str, count: usize| {
        (0..count)
            .map(|index| format!("%{name}{index}"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let mut body = format!(
        ".reg .b32 %d<{d}>, %a<{a}>, %b<{b}>, %c<{c}>, %lane; .reg .b64 %from, %to;\nmov.u32 %lane, %laneid;\n\
         mad.wide.u32 %from, %lane, {}, %in; mad.wide.u32 %to, %lane, {}, %out;\n",
        4 * sources,
        4 * d
    );
    let names = ["a"; 8]
        .iter()
        .take(a)
        .enumerate()
        .map(|(i, n)| format!("%{n}{i}"));
    let names: Vec<String> = names
        .chain((0..b).map(|i| format!("%b{i}")))
        .chain((0..c).map(|i| format!("%c{i}")))
        .collect();
    for (index, name) in names.iter().enumerate() {
        body += &format!("ld.global.b32 {name}, [%from+{}];\n", 4 * index);
    }
    body += &format!(
        "{opcode} {{{}}}, {{{}}}, {{{}}}, {{{}}};\n",
        list("d", d),
        list("a", a),
        list("b", b),
        list("c", c)
    );
    for index in 0..d {
        body += &format!("st.global.b32 [%to+{}], %d{index};\n", 4 * index);
    }
    let mut input = Vec::new();
    for lane in 0..32 {
        for (matrix, count) in [a, b, c].into_iter().enumerate() {
            input.extend((0..count).map(|register| word(matrix, lane, register)));
        }
    }
    let device = Device::new(DeviceConfig::sm_80());
    let output = run(&device, &kernel(&body), 32, &le_bytes32(&input), 32 * 4 * d).unwrap();
    words32(&output)
        .chunks_exact(d)
        .map(<[u32]>::to_vec)
        .collect()
}

/// Small integers, so that every sum is exact in every format.
fn matrix(rows: usize, columns: usize, seed: u64) -> Vec<Vec<f64>> {
    let mut numbers = Numbers(seed);
    (0..rows)
        .map(|_| {
            (0..columns)
                .map(|_| (numbers.next() % 9) as f64 - 4.0)
                .collect()
        })
        .collect()
}

fn expected(a: &[Vec<f64>], b: &[Vec<f64>], c: &[Vec<f64>], row: usize, column: usize) -> f64 {
    c[row][column]
        + a[row]
            .iter()
            .zip(b)
            .map(|(x, b_row)| x * b_row[column])
            .sum::<f64>()
}

fn check_16bit(opcode: &str, depth: usize, half_accumulator: bool, bits: impl Fn(f64) -> u16) {
    let (a, b, c) = (matrix(16, depth, 1), matrix(depth, 8, 2), matrix(16, 8, 3));
    let pack = |element: &dyn Fn(usize) -> f64| {
        u32::from(bits(element(0))) | (u32::from(bits(element(1))) << 16)
    };
    let accumulators = if half_accumulator { 2 } else { 4 };
    let found = mma(
        opcode,
        [accumulators, depth / 4, depth / 8, accumulators],
        |which, lane, register| match which {
            0 => pack(&|element| {
                let (row, column) = a16(lane, register, element);
                a[row][column]
            }),
            1 => pack(&|element| {
                let (row, column) = b16(lane, register, element);
                b[row][column]
            }),
            _ if half_accumulator => pack(&|element| {
                let (row, column) = c32(lane, 2 * register + element);
                c[row][column]
            }),
            _ => {
                let (row, column) = c32(lane, register);
                (c[row][column] as f32).to_bits()
            }
        },
    );
    for (lane, registers) in found.iter().enumerate() {
        for i in 0..4 {
            let (row, column) = c32(lane, i);
            let value = if half_accumulator {
                f16::from_bits((registers[i / 2] >> (16 * (i % 2))) as u16).to_f64()
            } else {
                f64::from(f32::from_bits(registers[i]))
            };
            assert_eq!(
                value,
                expected(&a, &b, &c, row, column),
                "{opcode}: row {row} column {column}"
            );
        }
    }
}

#[test]
fn products_of_halves() {
    let half = |value: f64| f16::from_f64(value).to_bits();
    let brain = |value: f64| bf16::from_f64(value).to_bits();
    check_16bit(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32",
        16,
        false,
        half,
    );
    check_16bit(
        "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32",
        8,
        false,
        half,
    );
    check_16bit(
        "mma.sync.aligned.m16n8k16.row.col.f16.f16.f16.f16",
        16,
        true,
        half,
    );
    check_16bit(
        "mma.sync.aligned.m16n8k8.row.col.f16.f16.f16.f16",
        8,
        true,
        half,
    );
    check_16bit(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32",
        16,
        false,
        brain,
    );
    check_16bit(
        "mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32",
        8,
        false,
        brain,
    );
}

#[test]
fn products_of_tf32() {
    for (opcode, depth) in [
        ("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32", 8),
        ("mma.sync.aligned.m16n8k4.row.col.f32.tf32.tf32.f32", 4),
    ] {
        let (a, b, c) = (matrix(16, depth, 4), matrix(depth, 8, 5), matrix(16, 8, 6));
        // The thirteen low bits of a tf32 are not read.
        let word = |value: f64| (value as f32).to_bits() | 0x1fff;
        let found = mma(
            opcode,
            [4, depth / 2, depth / 4, 4],
            |which, lane, register| match which {
                0 => {
                    let (row, column) = a_tf32(lane, register);
                    word(a[row][column])
                }
                1 => {
                    let (row, column) = b_tf32(lane, register);
                    word(b[row][column])
                }
                _ => {
                    let (row, column) = c32(lane, register);
                    (c[row][column] as f32).to_bits()
                }
            },
        );
        for (lane, registers) in found.iter().enumerate() {
            for (i, register) in registers.iter().enumerate() {
                let (row, column) = c32(lane, i);
                assert_eq!(
                    f64::from(f32::from_bits(*register)),
                    expected(&a, &b, &c, row, column),
                    "{opcode}: row {row} column {column}"
                );
            }
        }
    }
}

#[test]
fn a_product_is_rounded_once() {
    // 1 + 2^-12 * 2^-12 * 16 rounds to 1 + 2^-20 only if the sixteen terms of 2^-24 are added before the rounding.
    let tiny = u32::from(bf16::from_f64(2f64.powi(-12)).to_bits()) * 0x1_0001;
    let found = mma(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32",
        [4, 4, 2, 4],
        |which, _, _| if which == 2 { 1f32.to_bits() } else { tiny },
    );
    assert!(
        found
            .iter()
            .flatten()
            .all(|word| f32::from_bits(*word) == 1.0 + 2f32.powi(-20))
    );
    // NaN and infinity pass through.
    let infinite = u32::from(bf16::INFINITY.to_bits()) * 0x1_0001;
    let found = mma(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32",
        [4, 4, 2, 4],
        |which, _, _| {
            if which == 2 {
                f32::NEG_INFINITY.to_bits()
            } else {
                infinite
            }
        },
    );
    assert!(found.iter().flatten().all(|word| *word == 0x7fff_ffff));
}

/// Element (row, column) of matrix i holds 64 i + 8 row + column.
fn matrices_in_shared() -> String {
    "{ .shared .align 16 .b8 tile[512]; .reg .b32 %v<8>, %s; .reg .b32 %i; \
     mov.u32 %s, tile; shl.b32 %i, %lane, 4; add.u32 %s, %s, %i; shl.b32 %i, %lane, 3;\n"
        .to_owned()
        + &(0..4)
            .map(|word| {
                format!(
                    "add.u32 %v0, %i, {}; add.u32 %v1, %v0, 1; shl.b32 %v1, %v1, 16; or.b32 %v0, %v0, %v1; st.shared.b32 [%s+{}], %v0;\n",
                    2 * word,
                    4 * word
                )
            })
            .collect::<String>()
}

fn load_matrix(modifiers: &str, count: usize, register: usize) -> [u32; 32] {
    let list: Vec<String> = (0..count).map(|index| format!("%v{index}")).collect();
    let code = matrices_in_shared()
        + &format!(
            "ldmatrix.sync.aligned.m8n8.{modifiers}.shared.b16 {{{}}}, [%s]; mov.b32 %d, %v{register}; }}",
            list.join(", ")
        );
    crate::harness::warp("", &code, &[0; 32]).unwrap()
}

#[test]
fn matrix_loads_by_row_and_by_column() {
    for (count, name) in [(1, "x1"), (2, "x2"), (4, "x4")] {
        for matrix in 0..count {
            let plain = std::array::from_fn(|lane| {
                let first = (64 * matrix + 8 * (lane / 4) + 2 * (lane % 4)) as u32;
                first | ((first + 1) << 16)
            });
            assert_eq!(load_matrix(name, count, matrix), plain);
            // Transposed: the lane's row is the matrix's column.
            let transposed = std::array::from_fn(|lane| {
                let first = (64 * matrix + 8 * (2 * (lane % 4)) + lane / 4) as u32;
                first | ((first + 8) << 16)
            });
            assert_eq!(
                load_matrix(&format!("{name}.trans"), count, matrix),
                transposed
            );
        }
    }
}

/// Element `half` of a lane's register i holds 64 i + 2 lane + half; the matrices are stored, and each lane reads word
/// `lane mod 4` of row `lane / 4` of one of them.
fn store_matrix(modifiers: &str, count: usize, matrix: usize) -> [u32; 32] {
    let mut code = "{ .shared .align 16 .b8 tile[512]; .reg .b32 %v<4>, %s, %i;\n\
                    shl.b32 %i, %lane, 1; shl.b32 %s, %i, 16; or.b32 %i, %i, %s; add.u32 %v0, %i, 0x10000;\n"
        .to_owned();
    for register in 1..count {
        code += &format!("add.u32 %v{register}, %v0, {};\n", 0x40_0040 * register);
    }
    let list: Vec<String> = (0..count).map(|index| format!("%v{index}")).collect();
    code += &format!(
        "mov.u32 %s, tile; shl.b32 %i, %lane, 4; add.u32 %i, %i, %s;\n\
         stmatrix.sync.aligned.m8n8.{modifiers}.shared.b16 [%i], {{{}}};\n\
         bar.warp.sync 0xffffffff; shl.b32 %i, %lane, 2; add.u32 %s, %s, %i; ld.shared.b32 %d, [%s+{}]; }}",
        list.join(", "),
        128 * matrix
    );
    crate::harness::warp("", &code, &[0; 32]).unwrap()
}

#[test]
fn matrix_stores_by_row_and_by_column() {
    for (count, name) in [(1, "x1"), (2, "x2"), (4, "x4")] {
        for matrix in 0..count {
            let element = |lane: usize, half: usize| (64 * matrix + 2 * lane + half) as u32;
            let plain = std::array::from_fn(|lane| element(lane, 0) | (element(lane, 1) << 16));
            assert_eq!(store_matrix(name, count, matrix), plain, "{name}");
            // Transposed: row r of memory is column r of the fragment, which half r mod 2 of lanes 4 c + r / 2 hold.
            let transposed = std::array::from_fn(|lane| {
                let (row, pair) = (lane / 4, lane % 4);
                let at = |column: usize| element(4 * column + row / 2, row % 2);
                at(2 * pair) | (at(2 * pair + 1) << 16)
            });
            let name = format!("{name}.trans");
            assert_eq!(store_matrix(&name, count, matrix), transposed, "{name}");
        }
    }
}
