use crate::harness::{INF, MINUS_INF, NAN, TINY, check, d, f, pair};

#[test]
fn integers() {
    check(&[
        ("64<32", "cvt.s64.s32 %d, %a;", &[0xffff_ffff], u64::MAX),
        ("64<32", "cvt.u64.u32 %d, %a;", &[0xffff_ffff], 0xffff_ffff),
        (
            "32<64",
            "cvt.u32.u64 %d, %a;",
            &[0x1_2345_6789],
            0x2345_6789,
        ),
        ("32<16", "cvt.s32.s16 %d, %a;", &[0x8000], 0xffff_8000),
        ("32<16", "cvt.u32.u16 %d, %a;", &[0x8000], 0x8000),
        ("16<32", "cvt.u16.u32 %d, %a;", &[0x1_2345], 0x2345),
        ("32<32", "cvt.s32.s8 %d, %a;", &[0x80], 0xffff_ff80),
        ("32<32", "cvt.u32.u8 %d, %a;", &[0x1ff], 0xff),
        ("32<32", "cvt.s8.s32 %d, %a;", &[0x180], 0xffff_ff80),
        ("32<32", "cvt.sat.u8.s32 %d, %a;", &[0xffff_ffff], 0),
        ("32<32", "cvt.sat.u8.s32 %d, %a;", &[300], 255),
        ("16<32", "cvt.sat.s16.s32 %d, %a;", &[0xffff_0000], 0x8000),
    ]);
}

#[test]
fn floats_to_integers_round_and_clamp() {
    check(&[
        ("32<32", "cvt.rzi.s32.f32 %d, %a;", &[f(-1.9)], 0xffff_ffff),
        ("32<32", "cvt.rni.s32.f32 %d, %a;", &[f(2.5)], 2),
        ("32<32", "cvt.rni.s32.f32 %d, %a;", &[f(3.5)], 4),
        ("32<32", "cvt.rmi.s32.f32 %d, %a;", &[f(-1.1)], 0xffff_fffe),
        ("32<32", "cvt.rpi.s32.f32 %d, %a;", &[f(1.1)], 2),
        ("32<32", "cvt.rpi.s32.f32 %d, %a;", &[TINY], 1),
        ("32<32", "cvt.rpi.ftz.s32.f32 %d, %a;", &[TINY], 0),
        ("32<32", "cvt.rzi.s32.f32 %d, %a;", &[INF], 0x7fff_ffff),
        ("32<32", "cvt.rzi.s32.f32 %d, %a;", &[f(-3e9)], 0x8000_0000),
        ("32<32", "cvt.rzi.u32.f32 %d, %a;", &[f(-1.0)], 0),
        ("32<32", "cvt.rzi.s32.f32 %d, %a;", &[NAN], 0),
        ("64<32", "cvt.rzi.s64.f32 %d, %a;", &[NAN], 1 << 63),
        (
            "64<64",
            "cvt.rzi.u64.f64 %d, %a;",
            &[d(1e10)],
            10_000_000_000,
        ),
        ("32<16", "cvt.rzi.s32.f16 %d, %a;", &[0x4500], 5),
    ]);
}

#[test]
fn integers_to_floats_round_once() {
    check(&[
        // 2^24 + 1 is a tie.
        (
            "32<32",
            "cvt.rn.f32.s32 %d, %a;",
            &[16_777_217],
            f(16_777_216.0),
        ),
        (
            "32<32",
            "cvt.rp.f32.u32 %d, %a;",
            &[16_777_217],
            f(16_777_218.0),
        ),
        ("32<32", "cvt.rn.f32.s32 %d, %a;", &[0xffff_ffff], f(-1.0)),
        // 2^62 + 2^38 is a tie of f32 that the last bit takes up; an f64 cannot hold it.
        (
            "32<64",
            "cvt.rn.f32.u64 %d, %a;",
            &[(1 << 62) + (1 << 38) + 1],
            0x5e80_0001,
        ),
        (
            "32<64",
            "cvt.rn.f32.u64 %d, %a;",
            &[(1 << 62) + (1 << 38)],
            0x5e80_0000,
        ),
        ("64<32", "cvt.rn.f64.s32 %d, %a;", &[0xffff_fffe], d(-2.0)),
        (
            "64<64",
            "cvt.rn.f64.u64 %d, %a;",
            &[u64::MAX],
            d(18_446_744_073_709_551_616.0),
        ),
        ("16<32", "cvt.rn.f16.s32 %d, %a;", &[70_000], 0x7c00),
        ("16<32", "cvt.rn.f16.u32 %d, %a;", &[2049], 0x6800),
        ("16<32", "cvt.rn.bf16.s32 %d, %a;", &[257], 0x4380),
    ]);
}

#[test]
fn between_floats() {
    check(&[
        ("32<16", "cvt.f32.f16 %d, %a;", &[0x3555], f(0.333_251_95)),
        ("32<16", "cvt.f32.f16 %d, %a;", &[0x0001], f(5.960_464_5e-8)),
        ("32<16", "cvt.f32.f16 %d, %a;", &[0xfc00], MINUS_INF),
        ("32<16", "cvt.f32.bf16 %d, %a;", &[0x3f81], 0x3f81_0000),
        ("16<32", "cvt.rn.f16.f32 %d, %a;", &[f(65_520.0)], 0x7c00),
        ("16<32", "cvt.rz.f16.f32 %d, %a;", &[f(65_535.0)], 0x7bff),
        ("16<32", "cvt.rn.f16.f32 %d, %a;", &[NAN], 0x7fff),
        ("16<32", "cvt.rn.f16.f32 %d, %a;", &[f(6e-8)], 0x0001),
        ("16<32", "cvt.rn.bf16.f32 %d, %a;", &[0x3f80_8000], 0x3f80),
        ("16<32", "cvt.rn.bf16.f32 %d, %a;", &[0x3f80_8001], 0x3f81),
        ("16<32", "cvt.rn.bf16.f32 %d, %a;", &[0x3f81_8000], 0x3f82),
        ("16<32", "cvt.rz.bf16.f32 %d, %a;", &[0x3f80_ffff], 0x3f80),
        ("16<32", "cvt.rn.bf16.f32 %d, %a;", &[0x7f7f_ffff], 0x7f80),
        ("16<32", "cvt.rn.bf16.f32 %d, %a;", &[NAN], 0x7fff),
        ("16<32", "cvt.rn.relu.bf16.f32 %d, %a;", &[f(-2.0)], 0),
        // tf32 keeps ten bits of the fraction; ties away from zero, or to even.
        (
            "32<32",
            "cvt.rna.tf32.f32 %d, %a;",
            &[0x3f80_1000],
            0x3f80_2000,
        ),
        (
            "32<32",
            "cvt.rn.tf32.f32 %d, %a;",
            &[0x3f80_1000],
            0x3f80_0000,
        ),
        (
            "32<32",
            "cvt.rz.tf32.f32 %d, %a;",
            &[0x3f80_3fff],
            0x3f80_2000,
        ),
        (
            "32<64",
            "cvt.rn.f32.f64 %d, %a;",
            &[d(1.0 + 5.960_464_477_539_063e-8)],
            f(1.0),
        ),
        (
            "32<64",
            "cvt.rp.f32.f64 %d, %a;",
            &[d(1.0 + 1e-12)],
            0x3f80_0001,
        ),
        ("32<64", "cvt.rn.f32.f64 %d, %a;", &[d(1e-45)], TINY),
        (
            "64<32",
            "cvt.f64.f32 %d, %a;",
            &[TINY],
            d(1.401_298_464_324_817e-45),
        ),
        ("32<32", "cvt.rni.f32.f32 %d, %a;", &[f(2.5)], f(2.0)),
        ("32<32", "cvt.rpi.f32.f32 %d, %a;", &[f(-0.5)], 0x8000_0000),
        ("32<32", "cvt.sat.f32.f32 %d, %a;", &[f(1.5)], f(1.0)),
        ("32<32", "cvt.ftz.f32.f32 %d, %a;", &[TINY], 0),
    ]);
}

#[test]
fn pairs() {
    check(&[
        (
            "32<32,32",
            "cvt.rn.bf16x2.f32 %d, %a, %b;",
            &[f(1.0), f(2.0)],
            pair(0x3f80, 0x4000),
        ),
        (
            "32<32,32",
            "cvt.rn.relu.bf16x2.f32 %d, %a, %b;",
            &[f(-1.0), NAN],
            pair(0, 0x7fff),
        ),
        (
            "32<32,32",
            "cvt.rz.bf16x2.f32 %d, %a, %b;",
            &[0x3f80_ffff, 0x7f7f_ffff],
            pair(0x3f80, 0x7f7f),
        ),
        (
            "32<32,32",
            "cvt.rn.f16x2.f32 %d, %a, %b;",
            &[f(1.0), INF],
            pair(0x3c00, 0x7c00),
        ),
        (
            "32<32,32",
            "cvt.rz.f16x2.f32 %d, %a, %b;",
            &[f(65_535.0), f(-1.0)],
            pair(0x7bff, 0xbc00),
        ),
        (
            "32<16,16",
            "mov.b32 %d, {%a, %b};",
            &[0x1234, 0xabcd],
            0xabcd_1234,
        ),
        (
            "64<32,32",
            "mov.b64 %d, {%a, %b};",
            &[0x1, 0x2],
            0x2_0000_0001,
        ),
        (
            "32<64",
            "{ .reg .b32 %low; mov.b64 {%low, %d}, %a; }",
            &[0x2_0000_0001],
            2,
        ),
        ("16<32", "mov.b32 {%d, _}, %a;", &[0xabcd_1234], 0x1234),
    ]);
}

#[test]
fn addresses() {
    check(&[
        (
            "p<",
            "{ .shared .align 16 .b8 buffer[64]; .reg .b64 %s; mov.u64 %s, buffer; cvta.shared.u64 %s, %s; isspacep.shared %d, %s; }",
            &[],
            1,
        ),
        ("p<", "isspacep.shared %d, %in;", &[], 0),
        ("p<", "isspacep.global %d, %in;", &[], 1),
        (
            "64<",
            "{ .shared .align 16 .b8 pad[48]; .shared .align 16 .b8 buffer[64]; mov.u64 %d, buffer+4; cvta.shared.u64 %d, %d; cvta.to.shared.u64 %d, %d; }",
            &[],
            52,
        ),
        (
            "32<32",
            "{ .reg .b64 %g; cvta.global.u64 %g, %in; ld.b32 %d, [%g]; }",
            &[77],
            77,
        ),
    ]);
}
