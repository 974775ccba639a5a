use crate::harness::{INF, NAN, TINY, check, d, f};

#[test]
fn predicates_from_integers() {
    check(&[
        ("p<32,32", "setp.eq.s32 %d, %a, %b;", &[1, 1], 1),
        ("p<32,32", "setp.ne.b32 %d, %a, %b;", &[1, 1], 0),
        ("p<32,32", "setp.lt.s32 %d, %a, %b;", &[0xffff_ffff, 0], 1),
        ("p<32,32", "setp.lt.u32 %d, %a, %b;", &[0xffff_ffff, 0], 0),
        ("p<32,32", "setp.lo.u32 %d, %a, %b;", &[0, 1], 1),
        ("p<32,32", "setp.hs.u32 %d, %a, %b;", &[1, 1], 1),
        ("p<64,64", "setp.gt.s64 %d, %a, %b;", &[u64::MAX, 0], 0),
        ("p<64,64", "setp.ge.u64 %d, %a, %b;", &[u64::MAX, 0], 1),
        ("p<16,16", "setp.le.s16 %d, %a, %b;", &[0xffff, 0], 1),
        (
            "p<32,32,p",
            "setp.lt.and.s32 %d, %a, %b, %c;",
            &[0, 1, 0],
            0,
        ),
        (
            "p<32,32,p",
            "setp.lt.or.s32 %d, %a, %b, !%c;",
            &[1, 0, 0],
            1,
        ),
        (
            "p<32,32,p",
            "setp.eq.xor.s32 %d, %a, %b, %c;",
            &[1, 1, 1],
            0,
        ),
        // The second destination takes the complement of the comparison, combined alike.
        (
            "p<32,32,p",
            "{ .reg .pred %p; setp.lt.and.s32 %p|%d, %a, %b, %c; }",
            &[1, 0, 1],
            1,
        ),
        (
            "p<32,32,p",
            "{ .reg .pred %p; setp.lt.and.s32 %p|%d, %a, %b, %c; }",
            &[1, 0, 0],
            0,
        ),
    ]);
}

#[test]
fn predicates_from_floats_and_nan() {
    check(&[
        ("p<32,32", "setp.lt.f32 %d, %a, %b;", &[f(1.0), INF], 1),
        ("p<32,32", "setp.eq.f32 %d, %a, %b;", &[0x8000_0000, 0], 1),
        ("p<32,32", "setp.ne.f32 %d, %a, %b;", &[NAN, NAN], 0),
        ("p<32,32", "setp.neu.f32 %d, %a, %b;", &[NAN, NAN], 1),
        ("p<32,32", "setp.ltu.f32 %d, %a, %b;", &[NAN, f(1.0)], 1),
        ("p<32,32", "setp.geu.f32 %d, %a, %b;", &[f(1.0), f(2.0)], 0),
        ("p<32,32", "setp.equ.f32 %d, %a, %b;", &[f(1.0), NAN], 1),
        ("p<32,32", "setp.gtu.f32 %d, %a, %b;", &[f(1.0), f(1.0)], 0),
        ("p<32,32", "setp.leu.f32 %d, %a, %b;", &[f(1.0), f(1.0)], 1),
        ("p<32,32", "setp.num.f32 %d, %a, %b;", &[f(1.0), NAN], 0),
        ("p<32,32", "setp.nan.f32 %d, %a, %b;", &[f(1.0), NAN], 1),
        ("p<32,32", "setp.gt.f32 %d, %a, %b;", &[TINY, 0], 1),
        ("p<32,32", "setp.gt.ftz.f32 %d, %a, %b;", &[TINY, 0], 0),
        ("p<64,64", "setp.ge.f64 %d, %a, %b;", &[d(2.0), d(2.0)], 1),
        ("p<16,16", "setp.gt.f16 %d, %a, %b;", &[0x4000, 0x3c00], 1),
        ("p<16,16", "setp.lt.bf16 %d, %a, %b;", &[0xbf80, 0x3f80], 1),
    ]);
}

#[test]
fn selections() {
    check(&[
        ("32<32,32,p", "selp.b32 %d, %a, %b, %c;", &[1, 2, 1], 1),
        ("64<64,64,p", "selp.b64 %d, %a, %b, %c;", &[1, 2, 0], 2),
        ("32<32,32,p", "selp.f32 %d, %a, %b, !%c;", &[1, 2, 0], 1),
        (
            "32<32,32",
            "set.lt.u32.s32 %d, %a, %b;",
            &[0, 1],
            0xffff_ffff,
        ),
        (
            "32<32,32",
            "set.gt.f32.f32 %d, %a, %b;",
            &[f(2.0), f(1.0)],
            f(1.0),
        ),
        ("32<32,32", "set.gt.u32.f32 %d, %a, %b;", &[NAN, f(1.0)], 0),
        (
            "32<32,32,32",
            "slct.b32.s32 %d, %a, %b, %c;",
            &[1, 2, 0xffff_ffff],
            2,
        ),
        (
            "32<32,32,32",
            "slct.b32.f32 %d, %a, %b, %c;",
            &[1, 2, 0x8000_0000],
            1,
        ),
        (
            "32<32,32,32",
            "slct.b32.f32 %d, %a, %b, %c;",
            &[1, 2, NAN],
            2,
        ),
    ]);
}
