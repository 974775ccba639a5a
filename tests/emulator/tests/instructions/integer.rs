use crate::harness::check;

const M1: u64 = 0xffff_ffff;
const MIN32: u64 = 0x8000_0000;
const MAX32: u64 = 0x7fff_ffff;

#[test]
fn sums_and_differences() {
    check(&[
        ("32<32,32", "add.s32 %d, %a, %b;", &[MAX32, 1], MIN32),
        ("32<32,32", "add.sat.s32 %d, %a, %b;", &[MAX32, 1], MAX32),
        ("32<32,32", "add.sat.s32 %d, %a, %b;", &[MIN32, M1], MIN32),
        ("32<32,32", "add.u32 %d, %a, %b;", &[M1, 2], 1),
        ("64<64,64", "add.s64 %d, %a, %b;", &[u64::MAX, 2], 1),
        ("16<16,16", "add.u16 %d, %a, %b;", &[0xffff, 2], 1),
        (
            "32<32,32",
            "add.u16x2 %d, %a, %b;",
            &[0x0001_ffff, 0x0002_0001],
            0x0003_0000,
        ),
        ("32<32,32", "sub.s32 %d, %a, %b;", &[0, 1], M1),
        ("32<32,32", "sub.sat.s32 %d, %a, %b;", &[MIN32, 1], MIN32),
        ("64<64,64", "sub.u64 %d, %a, %b;", &[0, 1], u64::MAX),
        ("16<16,16", "sub.s16 %d, %a, %b;", &[0, 1], 0xffff),
        ("32<32", "add.s32 %d, %a, -3;", &[5], 2),
    ]);
}

#[test]
fn carries_link_words() {
    check(&[
        (
            "32<32,32,32,32",
            "{ .reg .b32 %t; add.cc.u32 %t, %a, %c; addc.u32 %d, %b, %e; }",
            &[M1, 7, 1, 8],
            16,
        ),
        (
            "32<32,32,32,32",
            "{ .reg .b32 %t; sub.cc.u32 %t, %a, %c; subc.u32 %d, %b, %e; }",
            &[0, 7, 1, 2],
            4,
        ),
        // 0xffffffff * 0xffffffff = 0xfffffffe_00000001; the low word plus ffffffff carries into the high one.
        (
            "32<32,32",
            "{ .reg .b32 %t; mad.lo.cc.u32 %t, %a, %b, %a; madc.hi.u32 %d, %a, %b, 0; }",
            &[M1, M1],
            M1,
        ),
    ]);
}

#[test]
fn products() {
    check(&[
        (
            "32<32,32",
            "mul.lo.s32 %d, %a, %b;",
            &[0x1_0001, 0x1_0001],
            0x2_0001,
        ),
        ("32<32,32", "mul.hi.u32 %d, %a, %b;", &[M1, M1], 0xffff_fffe),
        ("32<32,32", "mul.hi.s32 %d, %a, %b;", &[M1, M1], 0),
        (
            "64<32,32",
            "mul.wide.s32 %d, %a, %b;",
            &[M1, 5],
            0xffff_ffff_ffff_fffb,
        ),
        (
            "64<32,32",
            "mul.wide.u32 %d, %a, %b;",
            &[M1, 5],
            0x4_ffff_fffb,
        ),
        (
            "32<16,16",
            "mul.wide.u16 %d, %a, %b;",
            &[0xffff, 0xffff],
            0xfffe_0001,
        ),
        (
            "32<16,16",
            "mul.wide.s16 %d, %a, %b;",
            &[0xffff, 3],
            0xffff_fffd,
        ),
        ("64<64,64", "mul.lo.s64 %d, %a, %b;", &[1 << 33, 1 << 31], 0),
        (
            "64<64,64",
            "mul.hi.u64 %d, %a, %b;",
            &[u64::MAX, u64::MAX],
            u64::MAX - 1,
        ),
        (
            "64<64,64",
            "mul.hi.s64 %d, %a, %b;",
            &[u64::MAX, 7],
            u64::MAX,
        ),
        (
            "16<16,16",
            "mul.hi.u16 %d, %a, %b;",
            &[0x8000, 0x8000],
            0x4000,
        ),
        ("32<32,32,32", "mad.lo.s32 %d, %a, %b, %c;", &[3, 5, M1], 14),
        (
            "32<32,32,32",
            "mad.hi.u32 %d, %a, %b, %c;",
            &[MIN32, 6, 2],
            5,
        ),
        (
            "64<32,32,64",
            "mad.wide.s32 %d, %a, %b, %c;",
            &[M1, 2, 10],
            8,
        ),
        ("64<64,64,64", "mad.lo.s64 %d, %a, %b, %c;", &[3, 4, 5], 17),
        (
            "32<32,32",
            "mul24.lo.u32 %d, %a, %b;",
            &[0xff00_0003, 5],
            15,
        ),
        (
            "32<32,32",
            "mul24.hi.s32 %d, %a, %b;",
            &[0x00ff_ffff, 0x10000],
            M1,
        ),
    ]);
}

#[test]
fn quotients() {
    check(&[
        (
            "32<32,32",
            "div.s32 %d, %a, %b;",
            &[0xffff_fff9, 2],
            0xffff_fffd,
        ),
        (
            "32<32,32",
            "div.u32 %d, %a, %b;",
            &[0xffff_fff9, 2],
            0x7fff_fffc,
        ),
        ("32<32,32", "div.s32 %d, %a, %b;", &[MIN32, M1], MIN32),
        ("32<32,32", "rem.s32 %d, %a, %b;", &[0xffff_fff9, 2], M1),
        ("32<32,32", "rem.u32 %d, %a, %b;", &[17, 5], 2),
        (
            "64<64,64",
            "div.u64 %d, %a, %b;",
            &[1 << 40, 1 << 8],
            1 << 32,
        ),
        (
            "64<64,64",
            "rem.s64 %d, %a, %b;",
            &[0u64.wrapping_sub(9), 4],
            u64::MAX,
        ),
        ("16<16,16", "div.u16 %d, %a, %b;", &[100, 7], 14),
    ]);
}

#[test]
fn extremes_signs_and_distances() {
    check(&[
        ("32<32,32", "min.s32 %d, %a, %b;", &[M1, 1], M1),
        ("32<32,32", "min.u32 %d, %a, %b;", &[M1, 1], 1),
        ("32<32,32", "max.s32 %d, %a, %b;", &[M1, 1], 1),
        ("64<64,64", "max.u64 %d, %a, %b;", &[u64::MAX, 1], u64::MAX),
        (
            "32<32,32",
            "min.s16x2 %d, %a, %b;",
            &[0xffff_0002, 0x0001_0001],
            0xffff_0001,
        ),
        (
            "32<32,32",
            "max.u16x2 %d, %a, %b;",
            &[0xffff_0002, 0x0001_0003],
            0xffff_0003,
        ),
        ("32<32", "neg.s32 %d, %a;", &[5], 0xffff_fffb),
        ("64<64", "neg.s64 %d, %a;", &[1], u64::MAX),
        ("32<32", "abs.s32 %d, %a;", &[0xffff_fffb], 5),
        ("16<16", "abs.s16 %d, %a;", &[0xfffb], 5),
        ("32<32,32,32", "sad.s32 %d, %a, %b, %c;", &[M1, 4, 10], 15),
        ("32<32,32,32", "sad.u32 %d, %a, %b, %c;", &[4, 9, 1], 6),
        (
            "32<32,32,32",
            "dp4a.u32.u32 %d, %a, %b, %c;",
            &[0x0102_0304, 0x0101_0101, 100],
            110,
        ),
        (
            "32<32,32,32",
            "dp4a.s32.s32 %d, %a, %b, %c;",
            &[0xff00_0000, 0x7f00_0000, 0],
            0xffff_ff81,
        ),
    ]);
}
