use crate::harness::{lanes, warp};

const ALL: &str = "0xffffffff";

fn shuffled(mode: &str, offset: &str, clamp: &str) -> [u32; 32] {
    warp(
        "",
        &format!("shfl.sync.{mode}.b32 %d, %a, {offset}, {clamp}, {ALL};"),
        &lanes(),
    )
    .unwrap()
}

#[test]
fn shuffles_move_by_lane() {
    assert_eq!(
        shuffled("bfly", "1", "31"),
        std::array::from_fn(|lane| lane as u32 ^ 1)
    );
    assert_eq!(
        shuffled("bfly", "16", "31"),
        std::array::from_fn(|lane| lane as u32 ^ 16)
    );
    assert_eq!(
        shuffled("down", "4", "31"),
        std::array::from_fn(|lane| if lane < 28 {
            lane as u32 + 4
        } else {
            lane as u32
        })
    );
    assert_eq!(
        shuffled("up", "4", "0"),
        std::array::from_fn(|lane| if lane >= 4 {
            lane as u32 - 4
        } else {
            lane as u32
        })
    );
    assert_eq!(shuffled("idx", "5", "31"), [5; 32]);
    // Segments of eight lanes: the clamp operand holds the segment mask 0x18 in bits 8 to 12.
    assert_eq!(
        shuffled("idx", "2", "0x181f"),
        std::array::from_fn(|lane| (lane as u32 & 24) + 2)
    );
    assert_eq!(
        shuffled("down", "1", "0x181f"),
        std::array::from_fn(|lane| if lane % 8 < 7 {
            lane as u32 + 1
        } else {
            lane as u32
        })
    );
}

#[test]
fn shuffles_say_whether_the_source_was_in_range() {
    let code = format!(
        "{{ .reg .pred %p; shfl.sync.down.b32 %d|%p, %a, 4, 31, {ALL}; selp.b32 %d, 1, 0, %p; }}"
    );
    assert_eq!(
        warp("", &code, &lanes()).unwrap(),
        std::array::from_fn(|lane| u32::from(lane < 28))
    );
}

#[test]
fn votes() {
    let odd = ".reg .pred %odd, %p;";
    let vote = |code: &str| {
        let code = format!("and.b32 %d, %a, 1; setp.ne.u32 %odd, %d, 0; {code}");
        warp(odd, &code, &lanes()).unwrap()[7]
    };
    assert_eq!(
        vote("vote.sync.ballot.b32 %d, %odd, 0xffffffff;"),
        0xaaaa_aaaa
    );
    assert_eq!(
        vote("vote.sync.any.pred %p, %odd, 0xffffffff; selp.b32 %d, 1, 0, %p;"),
        1
    );
    assert_eq!(
        vote("vote.sync.all.pred %p, %odd, 0xffffffff; selp.b32 %d, 1, 0, %p;"),
        0
    );
    assert_eq!(
        vote("vote.sync.uni.pred %p, %odd, 0xffffffff; selp.b32 %d, 1, 0, %p;"),
        0
    );
    assert_eq!(
        vote("@%odd vote.sync.all.pred %p, %odd, 0xaaaaaaaa; @%odd selp.b32 %d, 1, 0, %p;"),
        1
    );
    assert_eq!(vote("activemask.b32 %d;"), u32::MAX);
    assert_eq!(vote("@%odd activemask.b32 %d;"), 0xaaaa_aaaa);
}

#[test]
fn matches() {
    let code = "and.b32 %d, %a, 3; match.any.sync.b32 %d, %d, 0xffffffff;";
    assert_eq!(
        warp("", code, &lanes()).unwrap(),
        std::array::from_fn(|lane| 0x1111_1111 << (lane % 4))
    );
    let code =
        "{ .reg .pred %p; match.all.sync.b32 %d|%p, %a, 0xffffffff; selp.b32 %d, %d, 7, %p; }";
    assert_eq!(warp("", code, &[5; 32]).unwrap(), [u32::MAX; 32]);
    assert_eq!(warp("", code, &lanes()).unwrap(), [7; 32]);
}

#[test]
fn reductions() {
    let reduce = |op: &str, input: &[u32; 32]| {
        warp("", &format!("redux.sync.{op} %d, %a, {ALL};"), input).unwrap()[3]
    };
    let mut mixed = lanes();
    mixed[9] = u32::MAX;
    assert_eq!(reduce("add.u32", &lanes()), 31 * 32 / 2);
    assert_eq!(reduce("min.s32", &mixed), u32::MAX);
    assert_eq!(reduce("min.u32", &mixed), 0);
    assert_eq!(reduce("max.u32", &mixed), u32::MAX);
    assert_eq!(reduce("max.s32", &mixed), 31);
    assert_eq!(reduce("and.b32", &lanes()), 0);
    assert_eq!(reduce("or.b32", &lanes()), 31);
    assert_eq!(reduce("xor.b32", &[3; 32]), 0);
}

#[test]
fn one_lane_is_elected() {
    let code = "{ .reg .pred %p; elect.sync _|%p, 0xffffffff; selp.b32 %d, 1, 0, %p; }";
    let elected = warp("", code, &lanes()).unwrap();
    assert_eq!(elected.iter().sum::<u32>(), 1);
    let code = "{ .reg .pred %p; elect.sync %d|%p, 0xffffffff; }";
    assert_eq!(elected[warp("", code, &lanes()).unwrap()[0] as usize], 1);
}

#[test]
fn special_registers() {
    let read = |register: &str| warp("", &format!("mov.u32 %d, {register};"), &lanes()).unwrap()[6];
    assert_eq!(read("%tid.x"), 6);
    assert_eq!(read("%ntid.x"), 32);
    assert_eq!(read("%nctaid.y"), 1);
    assert_eq!(read("%ctaid.x"), 0);
    assert_eq!(read("%warpid"), 0);
    assert_eq!(read("%lanemask_eq"), 0x40);
    assert_eq!(read("%lanemask_lt"), 0x3f);
    assert_eq!(read("%lanemask_le"), 0x7f);
    assert_eq!(read("%lanemask_gt"), 0xffff_ff80);
    assert_eq!(read("%lanemask_ge"), 0xffff_ffc0);
    assert_eq!(read("%cluster_nctaid.x"), 1);
    assert!(read("%clock") > 0);
}

#[test]
fn a_warp_meets_again() {
    // Odd lanes spin down to zero, the others wait at the barrier.
    let code = "and.b32 %d, %a, 1; setp.eq.u32 %p, %d, 0; mov.b32 %d, %a; @%p bra MEET;\n\
                LOOP: sub.u32 %d, %d, 1; setp.ne.u32 %p, %d, 0; @%p bra LOOP;\n\
                MEET: bar.warp.sync 0xffffffff; shfl.sync.bfly.b32 %d, %d, 1, 31, 0xffffffff;";
    let expected = std::array::from_fn(|lane| if lane % 2 == 1 { lane as u32 - 1 } else { 0 });
    assert_eq!(warp(".reg .pred %p;", code, &lanes()).unwrap(), expected);
}
