use crate::common::words32;
use crate::harness::{kernel, run};
use himuon_emulator::{Device, DeviceConfig, Fault};

/// One warp; `%leader` holds in lane 0. The input is the words 0 to 63, the output 64 words.
fn copy(code: &str) -> Result<Vec<u32>, Fault> {
    let body = format!(
        ".reg .b32 %thread, %d, %at; .reg .b64 %to, %state; .reg .pred %leader, %q;\n\
         .shared .align 16 .b8 buffer[256]; .shared .align 8 .b64 object;\n\
         mov.u32 %thread, %tid.x; setp.eq.u32 %leader, %thread, 0; mad.wide.u32 %to, %thread, 4, %out; mov.u32 %at, buffer; mad.lo.u32 %at, %thread, 4, %at;\n\
         @%leader mbarrier.init.shared::cta.b64 [object], 1; bar.sync 0;\n{code}"
    );
    let input: Vec<u8> = (0..64u32).flat_map(u32::to_le_bytes).collect();
    run(
        &Device::new(DeviceConfig::sm_90()),
        &kernel(&body),
        64,
        &input,
        256,
    )
    .map(|bytes| words32(&bytes))
}

const LOAD: &str = "@%leader mbarrier.arrive.expect_tx.shared::cta.b64 _, [object], 256;\n\
                    @%leader cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [buffer], [%in], 256, [object];\n";
const WAIT: &str =
    "WAIT: mbarrier.try_wait.parity.shared::cta.b64 %q, [object], 0; @!%q bra WAIT;\n";

#[test]
fn a_bulk_load_lands_at_its_mbarrier() {
    let code = format!("{LOAD}{WAIT} ld.shared.b32 %d, [%at]; st.global.b32 [%to], %d;");
    assert_eq!(copy(&code).unwrap(), (0..64).collect::<Vec<u32>>());
}

#[test]
fn a_bulk_load_may_not_be_read_before() {
    let fault = copy(&format!(
        "{LOAD} bar.sync 0; ld.shared.b32 %d, [%at]; st.global.b32 [%to], %d;"
    ))
    .unwrap_err();
    assert!(
        fault
            .to_string()
            .contains("a wait on its mbarrier is missing"),
        "{fault}"
    );
}

const STORE: &str = "@%leader cp.async.bulk.global.shared::cta.bulk_group [%out], [buffer], 256; @%leader cp.async.bulk.commit_group;\n";

#[test]
fn a_bulk_store_needs_a_proxy_fence_and_a_wait() {
    let fill = "st.shared.b32 [%at], %thread;";
    let wait = "@%leader cp.async.bulk.wait_group 0;";
    let fence = "fence.proxy.async.shared::cta;";
    assert_eq!(
        copy(&format!("{fill} {fence} bar.sync 0; {STORE} {wait}")).unwrap(),
        (0..64).collect::<Vec<u32>>()
    );
    let fault = copy(&format!("{fill} bar.sync 0; {STORE} {wait}")).unwrap_err();
    assert!(fault.to_string().contains("fence.proxy.async"), "{fault}");
    let fault = copy(&format!(
        "{fill} {fence} bar.sync 0; {STORE} @%leader st.shared.b32 [%at], 1; {wait}"
    ))
    .unwrap_err();
    assert!(
        fault
            .to_string()
            .contains("cp.async.bulk.wait_group is missing"),
        "{fault}"
    );
    let fault = copy(&format!("{fill} {fence} bar.sync 0; {STORE}")).unwrap_err();
    assert!(fault.to_string().contains("the block ends"), "{fault}");
}

#[test]
fn asynchronous_copies_arrive_at_an_mbarrier() {
    // One lane copies 16 bytes and its arrival says that they are there.
    let code = "@%leader cp.async.ca.shared.global [buffer], [%in], 16; @%leader cp.async.mbarrier.arrive.noinc.shared.b64 [object];\n\
                WAIT: mbarrier.try_wait.parity.shared.b64 %q, [object], 0; @!%q bra WAIT;\n\
                ld.shared.b32 %d, [buffer+12]; st.global.b32 [%to], %d;";
    assert_eq!(copy(code).unwrap(), [3; 64]);
}
