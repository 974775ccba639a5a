use crate::harness::{check, pair};

// f16: 1.0 = 0x3c00, 2.0 = 0x4000, 0.5 = 0x3800, max = 0x7bff, inf = 0x7c00, NaN = 0x7fff, smallest = 0x0001.
// bf16: 1.0 = 0x3f80, 2.0 = 0x4000, 0.5 = 0x3f00, max = 0x7f7f, inf = 0x7f80, NaN = 0x7fff.

#[test]
fn half() {
    check(&[
        ("16<16,16", "add.f16 %d, %a, %b;", &[0x3c00, 0x4000], 0x4200),
        // 1 + 2^-11 is a tie and goes to even; 1 + 3 * 2^-11 goes up.
        (
            "16<16,16",
            "add.rn.f16 %d, %a, %b;",
            &[0x3c00, 0x1000],
            0x3c00,
        ),
        (
            "16<16,16",
            "add.rn.f16 %d, %a, %b;",
            &[0x3c01, 0x1000],
            0x3c02,
        ),
        ("16<16,16", "add.f16 %d, %a, %b;", &[0x7bff, 0x7bff], 0x7c00),
        ("16<16,16", "add.f16 %d, %a, %b;", &[0x7c00, 0xfc00], 0x7fff),
        ("16<16,16", "add.f16 %d, %a, %b;", &[0x0001, 0x0001], 0x0002),
        (
            "16<16,16",
            "add.ftz.f16 %d, %a, %b;",
            &[0x0001, 0x0001],
            0x0000,
        ),
        ("16<16,16", "sub.f16 %d, %a, %b;", &[0x3c00, 0x4000], 0xbc00),
        ("16<16,16", "mul.f16 %d, %a, %b;", &[0x4200, 0x3800], 0x3e00),
        // Half of the smallest subnormal is a tie with zero.
        ("16<16,16", "mul.f16 %d, %a, %b;", &[0x0001, 0x3800], 0x0000),
        (
            "16<16,16,16",
            "fma.rn.f16 %d, %a, %b, %c;",
            &[0x4000, 0x4200, 0x3c00],
            0x4700,
        ),
        // 2048 + 1 is halfway to 2050 and goes to even.
        (
            "16<16,16,16",
            "fma.rn.f16 %d, %a, %b, %c;",
            &[0x6800, 0x3c00, 0x3c00],
            0x6800,
        ),
        (
            "16<16,16,16",
            "fma.rn.relu.f16 %d, %a, %b, %c;",
            &[0xc000, 0x4200, 0x3c00],
            0x0000,
        ),
        ("16<16", "neg.f16 %d, %a;", &[0x3c00], 0xbc00),
        ("16<16", "abs.f16 %d, %a;", &[0xbc00], 0x3c00),
        ("16<16,16", "min.f16 %d, %a, %b;", &[0x3c00, 0x7fff], 0x3c00),
        (
            "16<16,16",
            "max.NaN.f16 %d, %a, %b;",
            &[0x3c00, 0x7fff],
            0x7fff,
        ),
        ("16<16", "ex2.approx.f16 %d, %a;", &[0x4000], 0x4400),
        ("16<16", "tanh.approx.f16 %d, %a;", &[0x7c00], 0x3c00),
        (
            "32<32,32",
            "add.f16x2 %d, %a, %b;",
            &[pair(0x3c00, 0x4000), pair(0x3c00, 0xc000)],
            pair(0x4000, 0),
        ),
        (
            "32<32,32",
            "mul.f16x2 %d, %a, %b;",
            &[pair(0x3c00, 0x4000), pair(0x4000, 0x3800)],
            pair(0x4000, 0x3c00),
        ),
        (
            "32<32,32,32",
            "fma.rn.f16x2 %d, %a, %b, %c;",
            &[pair(0x4000, 0x3c00), pair(0x4000, 0x3c00), pair(0x3c00, 0)],
            pair(0x4500, 0x3c00),
        ),
        (
            "32<32",
            "neg.f16x2 %d, %a;",
            &[pair(0x3c00, 0xbc00)],
            pair(0xbc00, 0x3c00),
        ),
        (
            "32<32,32",
            "max.f16x2 %d, %a, %b;",
            &[pair(0x3c00, 0), pair(0x4000, 0x8000)],
            pair(0x4000, 0),
        ),
    ]);
}

#[test]
fn brain_half() {
    check(&[
        (
            "16<16,16",
            "add.bf16 %d, %a, %b;",
            &[0x3f80, 0x4000],
            0x4040,
        ),
        (
            "16<16,16",
            "sub.bf16 %d, %a, %b;",
            &[0x3f80, 0x4000],
            0xbf80,
        ),
        (
            "16<16,16",
            "mul.bf16 %d, %a, %b;",
            &[0x4040, 0x3f00],
            0x3fc0,
        ),
        // 1 + 2^-8 is a tie and goes to even.
        (
            "16<16,16",
            "add.bf16 %d, %a, %b;",
            &[0x3f80, 0x3b80],
            0x3f80,
        ),
        (
            "16<16,16",
            "add.bf16 %d, %a, %b;",
            &[0x3f81, 0x3b80],
            0x3f82,
        ),
        (
            "16<16,16,16",
            "fma.rn.bf16 %d, %a, %b, %c;",
            &[0x4000, 0x4040, 0x3f80],
            0x40e0,
        ),
        ("16<16", "neg.bf16 %d, %a;", &[0x3f80], 0xbf80),
        ("16<16", "abs.bf16 %d, %a;", &[0xbf80], 0x3f80),
        (
            "16<16,16",
            "min.bf16 %d, %a, %b;",
            &[0x3f80, 0x7fff],
            0x3f80,
        ),
        (
            "32<32,32,32",
            "fma.rn.bf16x2 %d, %a, %b, %c;",
            &[pair(0x4000, 0x3f80), pair(0x4000, 0x3f80), pair(0x3f80, 0)],
            pair(0x40a0, 0x3f80),
        ),
        (
            "32<32,32",
            "add.bf16x2 %d, %a, %b;",
            &[pair(0x3f80, 0x4000), pair(0x3f80, 0xc000)],
            pair(0x4000, 0),
        ),
        (
            "32<32,32",
            "max.bf16x2 %d, %a, %b;",
            &[pair(0x3f80, 0), pair(0x4000, 0x8000)],
            pair(0x4000, 0),
        ),
        (
            "32<32",
            "abs.bf16x2 %d, %a;",
            &[pair(0xbf80, 0x8000)],
            pair(0x3f80, 0),
        ),
    ]);
}

#[test]
fn a_fused_sum_sees_what_lies_beyond_f64() {
    check(&[
        // 200 * 176 = 35200 is halfway between 35072 and the even 35328; a c of -2^-100 takes it below.
        (
            "16<16,16,16",
            "fma.rn.bf16 %d, %a, %b, %c;",
            &[0x4348, 0x4330, 0x0000],
            0x470a,
        ),
        (
            "16<16,16,16",
            "fma.rn.bf16 %d, %a, %b, %c;",
            &[0x4348, 0x4330, 0x8d80],
            0x4709,
        ),
    ]);
}
