use crate::harness::{check, d, f, pair};

#[test]
fn loads_widen_by_their_type() {
    check(&[
        (
            "32<",
            "st.global.b32 [%out+4], 0xfedcba98; ld.global.u8 %d, [%out+5];",
            &[],
            0xba | 0xfedc_ba98_0000_0000,
        ),
        ("32<64", "ld.global.s8 %d, [%in];", &[0x80], 0xffff_ff80),
        ("32<64", "ld.global.s16 %d, [%in];", &[0x8001], 0xffff_8001),
        ("32<64", "ld.global.u16 %d, [%in];", &[0x8001], 0x8001),
        (
            "64<64",
            "ld.global.s32 %d, [%in];",
            &[0x8000_0000],
            0xffff_ffff_8000_0000,
        ),
        (
            "64<64",
            "ld.global.b64 %d, [%in];",
            &[0x0123_4567_89ab_cdef],
            0x0123_4567_89ab_cdef,
        ),
        (
            "32<64",
            "ld.global.nc.L1::no_allocate.b32 %d, [%in+4];",
            &[7 << 32],
            7,
        ),
        ("32<64", "ld.relaxed.gpu.global.b32 %d, [%in];", &[9], 9),
        ("32<64", "ld.volatile.global.u32 %d, [%in];", &[9], 9),
        (
            "64<",
            "ld.param.b64 %d, [input]; sub.s64 %d, %d, %in;",
            &[],
            0,
        ),
        (
            "32<64",
            "{ .reg .b64 %p; mov.b64 %p, input; cvta.param.u64 %p, %p; ld.b64 %p, [%p]; ld.global.b32 %d, [%p]; }",
            &[5],
            5,
        ),
    ]);
}

#[test]
fn vectors_and_spaces() {
    check(&[
        (
            "32<64,64",
            "{ .reg .b32 %x<4>; ld.global.v4.b32 {%x0, %x1, %x2, %x3}, [%in]; add.u32 %d, %x1, %x3; }",
            &[5 << 32, 9 << 32],
            14,
        ),
        (
            "64<64,64",
            "{ .reg .b64 %x<2>; ld.global.v2.b64 {%x0, %x1}, [%in]; sub.u64 %d, %x1, %x0; }",
            &[5, 9],
            4,
        ),
        (
            "32<64",
            "{ .reg .b16 %x<4>; ld.global.v4.u16 {%x0, %x1, %x2, %x3}, [%in]; mov.b32 %d, {%x3, %x0}; }",
            &[0x0004_0003_0002_0001],
            0x0001_0004,
        ),
        (
            "64<64",
            "{ .shared .align 16 .b8 s[32]; st.shared.v2.b32 [s+8], {1, 2}; ld.shared.b64 %d, [s+8]; }",
            &[0],
            0x2_0000_0001,
        ),
        (
            "32<32",
            "{ .local .align 8 .b8 l[16]; .reg .b64 %l; mov.u64 %l, l; st.local.b32 [%l+12], %a; cvta.local.u64 %l, %l; ld.b32 %d, [%l+12]; }",
            &[42],
            42,
        ),
        (
            "32<64,64,64,64",
            "{ .reg .b32 %x<8>; ld.global.v8.b32 {%x0, %x1, %x2, %x3, %x4, %x5, %x6, %x7}, [%in]; sub.u32 %d, %x7, %x2; }",
            &[0, 5, 0, 9 << 32],
            4,
        ),
        (
            "64<64,64,64,64",
            "{ .reg .b64 %x<4>; ld.global.v4.b64 {%x0, %x1, %x2, %x3}, [%in]; sub.u64 %d, %x3, %x1; }",
            &[0, 5, 0, 9],
            4,
        ),
        (
            "32<32,32",
            "{ .shared .align 16 .b8 s[16]; .reg .b32 %x<4>; st.shared.v4.b32 [s], {%a, %b, 3, 4}; ld.shared.v4.b32 {%x0, %x1, %x2, %x3}, [s]; mad.lo.u32 %d, %x1, %x3, %x0; }",
            &[1, 2],
            9,
        ),
        (
            "32<32",
            "{ .shared .align 2 .b8 s[2]; .reg .b16 %x<2>; st.shared.v2.b8 [s], {%a, 3}; ld.shared.v2.u8 {%x0, %x1}, [s]; mov.b32 %d, {%x0, %x1}; }",
            &[0x107],
            0x3_0007,
        ),
        (
            "64<64",
            "{ .local .align 8 .b8 l[16]; .reg .b64 %l; mov.u64 %l, l; st.local.v2.b32 [%l], {%a, 2}; ld.local.b64 %d, [%l]; }",
            &[1],
            0x2_0000_0001,
        ),
        ("32<64", "ldu.global.u32 %d, [%in+4];", &[6 << 32], 6),
        (
            "32<32",
            "{ .shared .b32 s; st.shared.b16 [s], 0x1234; st.shared.b8 [s+2], %a; st.shared.b8 [s+3], 0; ld.shared.b32 %d, [s]; }",
            &[0xff77],
            0x0077_1234,
        ),
    ]);
}

#[test]
fn atomics_return_the_old_value_and_leave_the_new() {
    // The result is the old value in the lower half of a word and the new one in the upper.
    check(&[
        (
            "64<32,32",
            "{ .reg .b32 %o; atom.global.add.u32 %o, [%in], 5; ld.global.b32 %a, [%in]; mov.b64 %d, {%o, %a}; }",
            &[7, 0],
            (12 << 32) | 7,
        ),
        (
            "32<32",
            "{ red.global.add.u32 [%in], 5; ld.global.b32 %d, [%in]; }",
            &[7],
            12,
        ),
        (
            "32<32",
            "{ .reg .b32 %o; atom.global.and.b32 %o, [%in], 6; ld.global.b32 %d, [%in]; }",
            &[3],
            2,
        ),
        (
            "32<32",
            "{ red.global.or.b32 [%in], 6; ld.global.b32 %d, [%in]; }",
            &[3],
            7,
        ),
        (
            "32<32",
            "{ red.global.xor.b32 [%in], 6; ld.global.b32 %d, [%in]; }",
            &[3],
            5,
        ),
        (
            "32<32",
            "{ .reg .b32 %o; atom.global.exch.b32 %d, [%in], 6; }",
            &[3],
            3,
        ),
        (
            "32<32",
            "{ .reg .b32 %o; atom.global.cas.b32 %o, [%in], 3, 8; ld.global.b32 %d, [%in]; }",
            &[3],
            8,
        ),
        (
            "32<32",
            "{ .reg .b32 %o; atom.global.cas.b32 %o, [%in], 4, 8; ld.global.b32 %d, [%in]; }",
            &[3],
            3,
        ),
        (
            "32<32",
            "{ red.global.min.s32 [%in], -1; ld.global.b32 %d, [%in]; }",
            &[3],
            0xffff_ffff,
        ),
        (
            "32<32",
            "{ red.global.min.u32 [%in], -1; ld.global.b32 %d, [%in]; }",
            &[3],
            3,
        ),
        (
            "32<32",
            "{ red.global.max.s32 [%in], -1; ld.global.b32 %d, [%in]; }",
            &[3],
            3,
        ),
        (
            "32<32",
            "{ red.global.max.u32 [%in], -1; ld.global.b32 %d, [%in]; }",
            &[3],
            0xffff_ffff,
        ),
        (
            "32<32",
            "{ red.global.inc.u32 [%in], 3; ld.global.b32 %d, [%in]; }",
            &[3],
            0,
        ),
        (
            "32<32",
            "{ red.global.inc.u32 [%in], 3; ld.global.b32 %d, [%in]; }",
            &[2],
            3,
        ),
        (
            "32<32",
            "{ red.global.dec.u32 [%in], 3; ld.global.b32 %d, [%in]; }",
            &[0],
            3,
        ),
        (
            "32<32",
            "{ red.global.dec.u32 [%in], 3; ld.global.b32 %d, [%in]; }",
            &[2],
            1,
        ),
        (
            "64<64",
            "{ red.global.add.u64 [%in], 1; ld.global.b64 %d, [%in]; }",
            &[0xffff_ffff],
            1 << 32,
        ),
        (
            "32<32",
            "{ red.relaxed.gpu.global.add.f32 [%in], 0f3F800000; ld.global.b32 %d, [%in]; }",
            &[f(2.0)],
            f(3.0),
        ),
        (
            "64<64",
            "{ red.global.add.f64 [%in], 0d3FF0000000000000; ld.global.b64 %d, [%in]; }",
            &[d(2.0)],
            d(3.0),
        ),
        (
            "32<32,32",
            "{ red.global.add.noftz.f16x2 [%in], %b; ld.global.b32 %d, [%in]; }",
            &[pair(0x3c00, 0x4000), pair(0x3c00, 0x3c00)],
            pair(0x4000, 0x4200),
        ),
        (
            "32<32,32",
            "{ red.global.add.noftz.bf16x2 [%in], %b; ld.global.b32 %d, [%in]; }",
            &[pair(0x3f80, 0x4000), pair(0x3f80, 0x3f80)],
            pair(0x4000, 0x4040),
        ),
        (
            "32<32",
            "{ .reg .b16 %o; .reg .b16 %n; mov.b16 %n, 9; atom.global.cas.b16 %o, [%in+2], 1, %n; ld.global.b32 %d, [%in]; }",
            &[0x1_0003],
            0x9_0003,
        ),
        (
            "64<64",
            "{ atom.global.max.s64 %d, [%in], -2; ld.global.b64 %d, [%in]; }",
            &[u64::MAX - 4],
            u64::MAX - 1,
        ),
        (
            "64<64",
            "{ atom.global.cas.b64 %d, [%in], 5, 6; ld.global.b64 %d, [%in]; }",
            &[5],
            6,
        ),
        (
            "64<32",
            "{ .shared .b32 s; .reg .b32 %o, %n; st.shared.b32 [s], 7; atom.shared.exch.b32 %o, [s], %a; ld.shared.b32 %n, [s]; mov.b64 %d, {%o, %n}; }",
            &[8],
            (8 << 32) | 7,
        ),
        (
            "32<32",
            "{ .shared .b32 s; .reg .b64 %s; mov.u64 %s, s; cvta.shared.u64 %s, %s; st.b32 [%s], 7; atom.add.u32 %d, [%s], %a; ld.shared.b32 %d, [s]; }",
            &[8],
            15,
        ),
        (
            "32<32",
            "{ .shared .b32 s; st.shared.b32 [s], 7; red.shared.add.u32 [s], %a; ld.shared.b32 %d, [s]; }",
            &[8],
            15,
        ),
    ]);
}

#[test]
fn asynchronous_copies_fill_with_zeros() {
    check(&[
        (
            "64<64,64",
            "{ .shared .align 16 .b8 s[16]; cp.async.cg.shared.global [s], [%in], 16; cp.async.commit_group; cp.async.wait_group 0; ld.shared.b64 %d, [s+8]; }",
            &[1, 0x1122_3344_5566_7788],
            0x1122_3344_5566_7788,
        ),
        (
            "64<64,64",
            "{ .shared .align 16 .b8 s[16]; cp.async.cg.shared.global.L2::128B [s], [%in], 16, 12; cp.async.wait_all; ld.shared.b64 %d, [s+8]; }",
            &[1, 0x1122_3344_5566_7788],
            0x5566_7788,
        ),
        (
            "32<64,p",
            "{ .shared .align 16 .b8 s[4]; cp.async.ca.shared.global [s], [%in], 4, %b; cp.async.wait_all; ld.shared.b32 %d, [s]; }",
            &[5, 1],
            0,
        ),
        (
            "64<64",
            "{ .shared .align 16 .b8 s[8]; cp.async.ca.shared::cta.global [s], [%in], 8; cp.async.wait_all; ld.shared.b64 %d, [s]; }",
            &[0x55],
            0x55,
        ),
    ]);
}

#[test]
fn hints_change_nothing() {
    check(&[
        (
            "32<32",
            "prefetch.global.L2 [%in]; mov.b32 %d, %a;",
            &[3],
            3,
        ),
        (
            "32<32",
            "prefetchu.L1 [%in]; applypriority.global.L2::evict_normal [%in], 128; discard.global.L2 [%in], 128; mov.b32 %d, %a;",
            &[3],
            3,
        ),
        (
            "32<32",
            "setmaxnreg.inc.sync.aligned.u32 232; pmevent 1; mov.b32 %d, %a;",
            &[3],
            3,
        ),
        (
            "32<32",
            "{ .reg .b64 %p; createpolicy.fractional.L2::evict_first.b64 %p, 0f3F800000; ld.global.L2::cache_hint.b32 %d, [%in], %p; }",
            &[3],
            3,
        ),
    ]);
}
