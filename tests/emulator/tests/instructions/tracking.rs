//! What two warps or two blocks do to different bytes is no conflict, however close the bytes lie; what they do to the
//! same byte is.

use crate::common::{Params, Shape, launch, upload};
use crate::harness::kernel;
use himuon_emulator::{Device, DeviceConfig, ExecutionOptions, FaultKind, Module};

/// Runs code with `%p` in the first of two warps (or blocks of one thread) and `%q` in the other.
fn fault(blocks: u32, code: &str) -> Option<FaultKind> {
    let who = if blocks == 1 { "%warpid" } else { "%ctaid.x" };
    let body = format!(
        ".reg .pred %p, %q; .reg .b32 %who, %d; .reg .b16 %h; .shared .align 16 .b8 cell[16];\n\
         mov.u32 %who, {who}; setp.eq.u32 %p, %who, 0; not.pred %q, %p; mov.b16 %h, 0;\n{code}"
    );
    let device = Device::new(DeviceConfig::sm_90());
    let module = Module::parse(&kernel(&body)).unwrap_or_else(|error| panic!("{error}"));
    let params = Params::new()
        .pointer(upload(&device, &[0; 16]))
        .pointer(upload(&device, &[0; 16]));
    let shape = Shape::linear(blocks, if blocks == 1 { 64 } else { 1 });
    let options = ExecutionOptions {
        threads: 1,
        ..ExecutionOptions::default()
    };
    let result = launch(&device, &module, "test", shape, &params, options);
    result.err().map(|fault| fault.kind)
}

/// Every lane of a warp writes the same, so that only the other warp can be in its way.
fn race(code: &str) -> bool {
    match fault(1, code) {
        None => false,
        Some(FaultKind::SharedRace { .. }) => true,
        Some(other) => panic!("{other}"),
    }
}

#[test]
fn warps_share_a_word_of_shared_memory_byte_by_byte() {
    assert!(!race(
        "@%p st.shared.u8 [cell], 1; @%q st.shared.u8 [cell+1], 2;"
    ));
    assert!(race(
        "@%p st.shared.u8 [cell+1], 1; @%q st.shared.u8 [cell+1], 2;"
    ));
    assert!(!race(
        "st.shared.b32 [cell], 0; bar.sync 0; @%p ld.shared.u16 %d, [cell]; @%q st.shared.b16 [cell+2], %h;"
    ));
    assert!(race(
        "st.shared.b32 [cell], 0; bar.sync 0; @%p ld.shared.u16 %d, [cell+2]; @%q st.shared.b16 [cell+2], %h;"
    ));
}

#[test]
fn a_part_of_a_word_that_is_read_is_not_overwritten_with_the_word() {
    // The narrowest write is a word, so that words are tracked; reads of bytes lie inside.
    let read = "st.shared.b32 [cell], 0; bar.sync 0; @%p ld.shared.u8 %d, [cell+3];";
    assert!(race(&format!("{read} @%q st.shared.b32 [cell], 1;")));
    assert!(!race(&format!("{read} @%q st.shared.b32 [cell+4], 1;")));
    assert!(!race(&format!(
        "{read} bar.sync 0; @%q st.shared.b32 [cell], 1;"
    )));
}

#[test]
fn an_uninitialised_part_is_told_beside_an_initialised_one() {
    let unwritten =
        |code: &str| matches!(fault(1, code), Some(FaultKind::UninitialisedMemory { .. }));
    assert!(unwritten(
        "st.shared.b16 [cell], %h; ld.shared.b32 %d, [cell];"
    ));
    assert!(!unwritten(
        "st.shared.b16 [cell], %h; ld.shared.u16 %d, [cell];"
    ));
}

#[test]
fn blocks_share_a_word_of_global_memory_byte_by_byte() {
    let conflict = |code: &str| match fault(2, code) {
        None => false,
        Some(FaultKind::BlockConflict { .. }) => true,
        Some(other) => panic!("{other}"),
    };
    assert!(!conflict(
        "@%p st.global.u8 [%out], 1; @%q st.global.u8 [%out+1], 2;"
    ));
    assert!(conflict(
        "@%p st.global.u8 [%out], 1; @%q st.global.u8 [%out], 2;"
    ));
    assert!(conflict(
        "@%p st.global.b32 [%out+4], 1; @%q ld.global.u8 %d, [%out+7];"
    ));
    assert!(!conflict(
        "@%p st.global.b32 [%out+4], 1; @%q ld.global.u8 %d, [%out+8];"
    ));
    // A copy that reads a part of a word, and fills up with zeros, is told like any other read.
    assert!(conflict(
        "@%p st.global.b32 [%out], 1; @%q cp.async.ca.shared.global [cell], [%out], 16, 3; cp.async.wait_all;"
    ));
}
