use crate::harness::{check, lanes, warp};

#[test]
fn branches_and_predication() {
    check(&[
        (
            "32<32",
            "{ .reg .pred %p; setp.gt.s32 %p, %a, 3; mov.b32 %d, 1; @%p mov.b32 %d, 2; }",
            &[4],
            2,
        ),
        (
            "32<32",
            "{ .reg .pred %p; setp.gt.s32 %p, %a, 3; mov.b32 %d, 1; @!%p mov.b32 %d, 2; }",
            &[4],
            1,
        ),
        (
            "32<32",
            "mov.b32 %d, 1; bra.uni OVER; mov.b32 %d, 2; OVER: add.u32 %d, %d, %a;",
            &[4],
            5,
        ),
        // Sum of 1 to a.
        (
            "32<32",
            "{ .reg .pred %p; mov.b32 %d, 0; LOOP: add.u32 %d, %d, %a; sub.u32 %a, %a, 1; setp.ne.u32 %p, %a, 0; @%p bra LOOP; }",
            &[10],
            55,
        ),
        // Labels belong to their braces.
        (
            "32<",
            "{ bra HERE; HERE: mov.b32 %d, 1; } { bra HERE; HERE: add.u32 %d, %d, 1; }",
            &[],
            2,
        ),
    ]);
}

#[test]
fn a_table_of_branches_splits_the_warp_and_joins_it() {
    let code = "and.b32 %d, %a, 3;\n\
                TABLE: .branchtargets ZERO, ONE, TWO, TWO;\n\
                brx.idx %d, TABLE;\n\
                ZERO: mov.b32 %d, 10; bra JOIN;\n\
                ONE: mov.b32 %d, 11; bra JOIN;\n\
                TWO: mov.b32 %d, 12;\n\
                JOIN: bar.warp.sync 0xffffffff;";
    assert_eq!(
        warp("", code, &lanes()).unwrap(),
        std::array::from_fn(|lane| [10, 11, 12, 12][lane % 4])
    );
}

#[test]
fn nested_divergence_joins_from_inside_out() {
    let code = "mov.b32 %d, 0; and.b32 %x, %a, 1; setp.ne.u32 %p, %x, 0; @%p bra OUTER;\n\
                and.b32 %x, %a, 2; setp.ne.u32 %q, %x, 0; @%q bra INNER;\n\
                add.u32 %d, %d, 1; INNER: vote.sync.ballot.b32 %x, %q, 0x55555555; add.u32 %d, %d, %x;\n\
                OUTER: bar.warp.sync 0xffffffff;";
    let expected = std::array::from_fn(|lane| match lane % 4 {
        0 => 0x4444_4445,
        2 => 0x4444_4444,
        _ => 0,
    });
    assert_eq!(
        warp(".reg .pred %p, %q; .reg .b32 %x;", code, &lanes()).unwrap(),
        expected
    );
}

#[test]
fn lanes_that_exit_early_are_not_waited_for() {
    // Lanes above 15 return; the others still shuffle and meet among themselves.
    let code = "mov.b32 %d, %a; setp.gt.u32 %p, %a, 15; @%p bra GONE; bra STAY; GONE: st.global.b32 [%to], 99; ret;\n\
                STAY: bar.sync 0; shfl.sync.bfly.b32 %d, %d, 8, 31, 0xffff;";
    let expected = std::array::from_fn(|lane| if lane < 16 { lane as u32 ^ 8 } else { 99 });
    assert_eq!(warp(".reg .pred %p;", code, &lanes()).unwrap(), expected);
}

#[test]
fn traps_and_exits() {
    for code in ["trap;", "brkpt;"] {
        let fault = warp("", code, &lanes()).unwrap_err();
        assert!(fault.to_string().contains("trap"), "{fault}");
    }
    assert_eq!(
        warp(
            "",
            "mov.b32 %d, %a; st.global.b32 [%to], 5; exit;",
            &lanes()
        )
        .unwrap(),
        [5; 32]
    );
}
