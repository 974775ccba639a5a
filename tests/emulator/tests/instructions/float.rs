use crate::harness::{INF, MINUS_INF, NAN, TINY, check, d, f};

/// 1 + 2^-23, the successor of one; and half of that step.
const AFTER_ONE: u64 = 0x3f80_0001;
const HALF_STEP: u64 = f(5.960_464_5e-8);
const MINUS_ZERO: u64 = 0x8000_0000;
const MAX: u64 = f(f32::MAX);

#[test]
fn sums_round_in_every_direction() {
    check(&[
        (
            "32<32,32",
            "add.f32 %d, %a, %b;",
            &[f(1.5), f(2.25)],
            f(3.75),
        ),
        (
            "32<32,32",
            "add.rn.f32 %d, %a, %b;",
            &[f(1.0), HALF_STEP],
            f(1.0),
        ),
        (
            "32<32,32",
            "add.rp.f32 %d, %a, %b;",
            &[f(1.0), HALF_STEP],
            AFTER_ONE,
        ),
        (
            "32<32,32",
            "add.rp.f32 %d, %a, %b;",
            &[f(1.0), TINY],
            AFTER_ONE,
        ),
        (
            "32<32,32",
            "add.rz.f32 %d, %a, %b;",
            &[f(1.0), HALF_STEP],
            f(1.0),
        ),
        (
            "32<32,32",
            "add.rm.f32 %d, %a, %b;",
            &[f(-1.0), 0x8000_0001],
            0xbf80_0001,
        ),
        ("32<32,32", "add.rz.f32 %d, %a, %b;", &[MAX, MAX], MAX),
        ("32<32,32", "add.f32 %d, %a, %b;", &[MAX, MAX], INF),
        ("32<32,32", "add.f32 %d, %a, %b;", &[INF, MINUS_INF], NAN),
        ("32<32,32", "add.f32 %d, %a, %b;", &[TINY, TINY], 2),
        ("32<32,32", "add.ftz.f32 %d, %a, %b;", &[TINY, TINY], 0),
        ("32<32,32", "add.f32 %d, %a, %b;", &[f(1.0), f(-1.0)], 0),
        (
            "32<32,32",
            "add.rm.f32 %d, %a, %b;",
            &[f(1.0), f(-1.0)],
            MINUS_ZERO,
        ),
        (
            "32<32,32",
            "add.sat.f32 %d, %a, %b;",
            &[f(1.0), f(1.0)],
            f(1.0),
        ),
        ("32<32,32", "add.sat.f32 %d, %a, %b;", &[NAN, f(1.0)], 0),
        (
            "32<32,32",
            "sub.f32 %d, %a, %b;",
            &[f(1.0), f(3.0)],
            f(-2.0),
        ),
        (
            "32<32,32",
            "sub.rm.f32 %d, %a, %b;",
            &[f(1.0), TINY],
            0x3f7f_ffff,
        ),
    ]);
}

#[test]
fn products_and_fused_products() {
    // (1 + 2^-23)^2 = 1 + 2^-22 + 2^-46.
    const SQUARE: u64 = 0x3f80_0002;
    check(&[
        (
            "32<32,32",
            "mul.f32 %d, %a, %b;",
            &[AFTER_ONE, AFTER_ONE],
            SQUARE,
        ),
        (
            "32<32,32",
            "mul.rp.f32 %d, %a, %b;",
            &[AFTER_ONE, AFTER_ONE],
            SQUARE + 1,
        ),
        ("32<32,32", "mul.f32 %d, %a, %b;", &[0, INF], NAN),
        ("32<32,32", "mul.f32 %d, %a, %b;", &[f(1e-30), f(1e-30)], 0),
        (
            "32<32,32",
            "mul.rp.f32 %d, %a, %b;",
            &[f(1e-30), f(1e-30)],
            TINY,
        ),
        (
            "32<32,32",
            "mul.ftz.f32 %d, %a, %b;",
            &[0x0080_0000, f(0.5)],
            0,
        ),
        (
            "32<32,32",
            "mul.f32 %d, %a, %b;",
            &[0x0080_0000, f(0.5)],
            0x0040_0000,
        ),
        ("32<32,32", "mul.f32 %d, %a, %b;", &[f(-1.0), 0], MINUS_ZERO),
        // Fused, the 2^-46 survives the cancellation.
        (
            "32<32,32,32",
            "fma.rn.f32 %d, %a, %b, %c;",
            &[AFTER_ONE, AFTER_ONE, SQUARE | 0x8000_0000],
            f(1.421_085_5e-14),
        ),
        (
            "32<32,32,32",
            "fma.rn.f32 %d, %a, %b, %c;",
            &[f(2.0), f(3.0), f(4.0)],
            f(10.0),
        ),
        (
            "32<32,32,32",
            "fma.rz.f32 %d, %a, %b, %c;",
            &[f(1.0), f(1.0), 0x8000_0001],
            0x3f7f_ffff,
        ),
        (
            "32<32,32,32",
            "fma.rn.f32 %d, %a, %b, %c;",
            &[INF, 0, f(1.0)],
            NAN,
        ),
        (
            "32<32,32,32",
            "fma.rn.sat.f32 %d, %a, %b, %c;",
            &[f(-2.0), f(3.0), 0],
            0,
        ),
    ]);
}

#[test]
fn quotients_and_roots() {
    check(&[
        (
            "32<32,32",
            "div.rn.f32 %d, %a, %b;",
            &[f(1.0), f(3.0)],
            0x3eaa_aaab,
        ),
        (
            "32<32,32",
            "div.rz.f32 %d, %a, %b;",
            &[f(1.0), f(3.0)],
            0x3eaa_aaaa,
        ),
        (
            "32<32,32",
            "div.rp.f32 %d, %a, %b;",
            &[f(-1.0), f(3.0)],
            0xbeaa_aaaa,
        ),
        ("32<32,32", "div.rn.f32 %d, %a, %b;", &[f(1.0), 0], INF),
        ("32<32,32", "div.rn.f32 %d, %a, %b;", &[0, 0], NAN),
        (
            "32<32,32",
            "div.approx.f32 %d, %a, %b;",
            &[f(6.0), f(2.0)],
            f(3.0),
        ),
        ("32<32,32", "div.approx.f32 %d, %a, %b;", &[f(1.0), MAX], 0),
        (
            "32<32,32",
            "div.full.f32 %d, %a, %b;",
            &[f(6.0), f(2.0)],
            f(3.0),
        ),
        ("32<32", "rcp.rn.f32 %d, %a;", &[f(3.0)], 0x3eaa_aaab),
        ("32<32", "rcp.rm.f32 %d, %a;", &[f(3.0)], 0x3eaa_aaaa),
        ("32<32", "rcp.approx.ftz.f32 %d, %a;", &[TINY], INF),
        ("32<32", "rcp.rn.f32 %d, %a;", &[MINUS_ZERO], MINUS_INF),
        ("32<32", "sqrt.rn.f32 %d, %a;", &[f(2.0)], 0x3fb5_04f3),
        ("32<32", "sqrt.rp.f32 %d, %a;", &[f(2.0)], 0x3fb5_04f4),
        ("32<32", "sqrt.rn.f32 %d, %a;", &[f(-1.0)], NAN),
        ("32<32", "sqrt.rn.f32 %d, %a;", &[MINUS_ZERO], MINUS_ZERO),
        ("32<32", "sqrt.approx.f32 %d, %a;", &[f(9.0)], f(3.0)),
        ("32<32", "rsqrt.approx.f32 %d, %a;", &[f(4.0)], f(0.5)),
        ("32<32", "rsqrt.approx.f32 %d, %a;", &[0], INF),
        ("32<32", "rsqrt.approx.f32 %d, %a;", &[f(-4.0)], NAN),
    ]);
}

#[test]
fn transcendental_functions() {
    check(&[
        ("32<32", "ex2.approx.f32 %d, %a;", &[f(3.0)], f(8.0)),
        ("32<32", "ex2.approx.f32 %d, %a;", &[f(-1.0)], f(0.5)),
        ("32<32", "ex2.approx.ftz.f32 %d, %a;", &[MINUS_INF], 0),
        ("32<32", "lg2.approx.f32 %d, %a;", &[f(8.0)], f(3.0)),
        ("32<32", "lg2.approx.f32 %d, %a;", &[0], MINUS_INF),
        ("32<32", "lg2.approx.f32 %d, %a;", &[f(-1.0)], NAN),
        ("32<32", "sin.approx.f32 %d, %a;", &[MINUS_ZERO], MINUS_ZERO),
        ("32<32", "cos.approx.f32 %d, %a;", &[0], f(1.0)),
        ("32<32", "cos.approx.f32 %d, %a;", &[INF], NAN),
        ("32<32", "tanh.approx.f32 %d, %a;", &[INF], f(1.0)),
        ("32<32", "tanh.approx.f32 %d, %a;", &[f(-0.0)], MINUS_ZERO),
    ]);
}

#[test]
fn extremes_and_signs() {
    check(&[
        ("32<32,32", "min.f32 %d, %a, %b;", &[f(1.0), NAN], f(1.0)),
        ("32<32,32", "min.NaN.f32 %d, %a, %b;", &[f(1.0), NAN], NAN),
        ("32<32,32", "max.f32 %d, %a, %b;", &[MINUS_ZERO, 0], 0),
        (
            "32<32,32",
            "min.f32 %d, %a, %b;",
            &[0, MINUS_ZERO],
            MINUS_ZERO,
        ),
        ("32<32,32", "max.f32 %d, %a, %b;", &[NAN, NAN], NAN),
        (
            "32<32,32",
            "max.ftz.f32 %d, %a, %b;",
            &[TINY, MINUS_ZERO],
            0,
        ),
        ("32<32", "neg.f32 %d, %a;", &[f(1.0)], f(-1.0)),
        ("32<32", "neg.ftz.f32 %d, %a;", &[TINY], MINUS_ZERO),
        ("32<32", "abs.f32 %d, %a;", &[MINUS_INF], INF),
        (
            "32<32,32",
            "copysign.f32 %d, %a, %b;",
            &[f(-1.0), f(2.0)],
            f(-2.0),
        ),
        ("p<32", "testp.finite.f32 %d, %a;", &[INF], 0),
        ("p<32", "testp.infinite.f32 %d, %a;", &[INF], 1),
        ("p<32", "testp.number.f32 %d, %a;", &[NAN], 0),
        ("p<32", "testp.notanumber.f32 %d, %a;", &[NAN], 1),
        ("p<32", "testp.normal.f32 %d, %a;", &[TINY], 0),
        ("p<32", "testp.subnormal.f32 %d, %a;", &[TINY], 1),
    ]);
}

#[test]
fn double_precision() {
    check(&[
        (
            "64<64,64",
            "add.f64 %d, %a, %b;",
            &[d(0.1), d(0.2)],
            0x3fd3_3333_3333_3334,
        ),
        ("64<64,64", "sub.f64 %d, %a, %b;", &[d(1.0), d(0.5)], d(0.5)),
        (
            "64<64,64",
            "mul.rn.f64 %d, %a, %b;",
            &[d(3.0), d(0.5)],
            d(1.5),
        ),
        (
            "64<64,64",
            "div.rn.f64 %d, %a, %b;",
            &[d(1.0), d(3.0)],
            0x3fd5_5555_5555_5555,
        ),
        (
            "64<64,64,64",
            "fma.rn.f64 %d, %a, %b, %c;",
            &[d(2.0), d(3.0), d(4.0)],
            d(10.0),
        ),
        ("64<64", "rcp.rn.f64 %d, %a;", &[d(4.0)], d(0.25)),
        (
            "64<64",
            "sqrt.rn.f64 %d, %a;",
            &[d(2.0)],
            0x3ff6_a09e_667f_3bcd,
        ),
        ("64<64", "rsqrt.approx.f64 %d, %a;", &[d(4.0)], d(0.5)),
        ("64<64", "neg.f64 %d, %a;", &[d(1.0)], d(-1.0)),
        ("64<64", "abs.f64 %d, %a;", &[d(-1.0)], d(1.0)),
        (
            "64<64,64",
            "min.f64 %d, %a, %b;",
            &[d(f64::NAN), d(1.0)],
            d(1.0),
        ),
        ("64<64,64", "max.f64 %d, %a, %b;", &[d(-0.0), d(0.0)], 0),
        ("p<64", "testp.finite.f64 %d, %a;", &[d(1.0)], 1),
    ]);
}
