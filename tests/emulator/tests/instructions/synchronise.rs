use crate::common::{le_bytes32, words32};
use crate::harness::{check, kernel, run};
use himuon_emulator::{Device, DeviceConfig, Fault};

/// Runs code on a block: `%tid` is the thread, `%warp` its warp, `%d` the result.
fn block(threads: u32, code: &str) -> Result<Vec<u32>, Fault> {
    let body = format!(
        ".reg .b32 %thread, %warp, %d; .reg .b64 %to; .reg .pred %p, %q;\n\
         mov.u32 %thread, %tid.x; shr.u32 %warp, %thread, 5; mad.wide.u32 %to, %thread, 4, %out; mov.b32 %d, 0;\n\
         {code}\nst.global.b32 [%to], %d;"
    );
    let device = Device::new(DeviceConfig::sm_90());
    let output = run(
        &device,
        &kernel(&body),
        threads,
        &le_bytes32(&[0]),
        4 * threads as usize,
    )?;
    Ok(words32(&output))
}

#[test]
fn a_barrier_orders_shared_memory() {
    let code = ".shared .b32 word; setp.eq.u32 %p, %thread, 0; @%p st.shared.b32 [word], 7; bar.sync 0; ld.shared.b32 %d, [word];";
    assert_eq!(block(96, code).unwrap(), [7; 96]);
    let code = code.replace("bar.sync 0", "barrier.sync.aligned 0");
    assert_eq!(block(96, &code).unwrap(), [7; 96]);
    let code = code.replace("barrier.sync.aligned 0", "barrier.cta.sync 3");
    assert_eq!(block(96, &code).unwrap(), [7; 96]);
}

#[test]
fn a_barrier_of_some_threads_leaves_the_others_alone() {
    // Warps 0 and 1 meet at barrier 1; warp 2 does not take part.
    let code = ".shared .b32 word; setp.gt.u32 %q, %warp, 1; @%q bra DONE;\n\
                setp.eq.u32 %p, %thread, 0; @%p st.shared.b32 [word], 7; bar.sync 1, 64; ld.shared.b32 %d, [word]; DONE: bar.sync 0;";
    let found = block(96, code).unwrap();
    assert_eq!(found[..64], [7; 64]);
    assert_eq!(found[64..], [0; 32]);
}

#[test]
fn a_producer_arrives_without_waiting() {
    let code = ".shared .b32 word; setp.eq.u32 %p, %warp, 0; @%p bra PRODUCE;\n\
                bar.sync 2, 64; ld.shared.b32 %d, [word]; bra DONE;\n\
                PRODUCE: st.shared.b32 [word], 9; bar.arrive 2, 64; DONE: bar.sync 0;";
    assert_eq!(block(64, code).unwrap()[32..], [9; 32]);
}

#[test]
fn barriers_reduce() {
    let reduce = |code: &str| block(64, &format!("setp.lt.u32 %p, %thread, 40; {code}")).unwrap();
    assert_eq!(reduce("bar.red.popc.u32 %d, 0, %p;"), [40; 64]);
    assert_eq!(
        reduce("bar.red.and.pred %q, 0, %p; selp.b32 %d, 1, 0, %q;"),
        [0; 64]
    );
    assert_eq!(
        reduce("barrier.cta.red.or.aligned.pred %q, 0, %p; selp.b32 %d, 1, 0, %q;"),
        [1; 64]
    );
    assert_eq!(
        reduce("barrier.sync 0; bar.red.popc.u32 %d, 1, 64, !%p;"),
        [24; 64]
    );
}

#[test]
fn an_unaligned_barrier_is_reached_in_parts() {
    let code = ".shared .b32 word; setp.eq.u32 %p, %thread, 0; @%p bra FIRST;\n\
                barrier.sync 0; bra NEXT;\n\
                FIRST: st.shared.b32 [word], 3; barrier.sync 0;\n\
                NEXT: ld.shared.b32 %d, [word];";
    assert_eq!(block(64, code).unwrap(), [3; 64]);
}

#[test]
fn fences_and_hints_are_accepted() {
    check(&[
        (
            "32<32",
            "membar.cta; membar.gl; membar.sys; fence.acq_rel.gpu; fence.sc.cta; mov.b32 %d, %a;",
            &[1],
            1,
        ),
        (
            "32<32",
            "fence.proxy.async; fence.proxy.async.shared::cta; fence.mbarrier_init.release.cluster; mov.b32 %d, %a;",
            &[1],
            1,
        ),
        (
            "32<32",
            "griddepcontrol.wait; griddepcontrol.launch_dependents; nanosleep.u32 20; mov.b32 %d, %a;",
            &[1],
            1,
        ),
    ]);
}

const PREPARE: &str = ".shared .align 8 .b64 object; .shared .b32 word; .reg .b64 %state;\n\
                       setp.eq.u32 %p, %thread, 0; @%p mbarrier.init.shared::cta.b64 [object], 64; bar.sync 0;";

#[test]
fn an_mbarrier_orders_its_participants() {
    let code = format!(
        "{PREPARE} @%p st.shared.b32 [word], 5;\n\
         mbarrier.arrive.shared::cta.b64 %state, [object];\n\
         WAIT: mbarrier.try_wait.shared::cta.b64 %q, [object], %state; @!%q bra WAIT; ld.shared.b32 %d, [word];"
    );
    assert_eq!(block(64, &code).unwrap(), [5; 64]);
}

#[test]
fn an_mbarrier_alternates_its_parity() {
    let wait = |label: &str, parity: u32| {
        format!(
            "{label}: mbarrier.test_wait.parity.shared.b64 %q, [object], {parity}; @!%q bra {label};"
        )
    };
    let code = format!(
        "{PREPARE} mbarrier.arrive.shared.b64 _, [object]; {} mbarrier.arrive.release.cta.shared::cta.b64 _, [object]; {}\n\
         mbarrier.test_wait.parity.shared.b64 %q, [object], 0; selp.b32 %d, 1, 0, %q;",
        wait("A", 0),
        wait("B", 1)
    );
    // After two phases the third, of parity 0, is not complete.
    assert_eq!(block(64, &code).unwrap(), [0; 64]);
}

#[test]
fn an_mbarrier_counts_drops_and_pending_arrivals() {
    let code = ".shared .align 8 .b64 object; .reg .b64 %state;\n\
                setp.eq.u32 %p, %thread, 0; @!%p bra END; mbarrier.init.shared.b64 [object], 3;\n\
                mbarrier.arrive_drop.shared.b64 _, [object]; mbarrier.arrive.shared.b64 %state, [object], 1;\n\
                mbarrier.pending_count.b64 %d, %state; mbarrier.arrive.shared.b64 _, [object];\n\
                mbarrier.arrive.shared.b64 _, [object], 2; mbarrier.test_wait.parity.shared.b64 %q, [object], 1;\n\
                selp.b32 %thread, 100, 0, %q; add.u32 %d, %d, %thread; mbarrier.inval.shared.b64 [object]; END:";
    // Two arrivals were pending before the second arrival; the next phase needs only two, and completed.
    assert_eq!(block(32, code).unwrap()[0], 102);
}
