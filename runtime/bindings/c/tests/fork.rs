//! A process that was forked has none of the parent's threads: what would wait for them is refused.
#![cfg(unix)]
#![allow(unsafe_code, clippy::unwrap_used)]

use std::ffi::CStr;
use std::ptr::{null, null_mut};

use himuon_c::*;

unsafe extern "C" {
    fn fork() -> i32;
    fn waitpid(process: i32, status: *mut i32, options: i32) -> i32;
    fn alarm(seconds: u32) -> u32;
    fn _exit(status: i32) -> !;
}

/// The exit status of a child that does this, or the signal that ended it.
fn in_a_child(work: impl FnOnce() -> i32) -> i32 {
    let mut status = 0;
    // SAFETY: the child does no more than `work`, whose locks no other thread of this process holds, and ends.
    unsafe {
        match fork() {
            0 => {
                // One that waits for ever is ended.
                alarm(20);
                _exit(work())
            }
            child => assert_eq!(waitpid(child, &mut status, 0), child),
        }
    }
    if status & 0x7f == 0 {
        status >> 8
    } else {
        -(status & 0x7f)
    }
}

#[test]
fn an_optimizer_of_the_parent_is_refused_in_a_forked_process() {
    let mut numbers = [[1.0_f32; 1024], [0.5; 1024]];
    let [weights, gradients] = numbers.each_mut().map(|numbers| Tensor {
        data: numbers.as_mut_ptr().cast(),
        len: numbers.len(),
        element: HIMUON_F32,
    });
    let build = || {
        let builder = himuon_builder_new();
        let mut optimizer = null_mut();
        // SAFETY: what the functions ask for.
        unsafe {
            himuon_builder_parameter(builder, c"w".as_ptr(), [32, 32].as_ptr(), 2);
            himuon_builder_group(builder, c"w".as_ptr(), c"tile=4".as_ptr(), null());
            himuon_builder_threads(builder, 2);
            assert_eq!(himuon_build(builder, &mut optimizer), Status::Ok);
        }
        optimizer
    };
    // SAFETY: the optimizer and the tensors are there, in the child too.
    let step = |optimizer| unsafe { himuon_step(optimizer, &weights, &gradients, 1, null_mut()) };
    let optimizer = build();
    assert_eq!(step(optimizer), Status::Ok);
    let ended = in_a_child(|| {
        // SAFETY: as above; the text is there until the next call that fails.
        unsafe {
            let said = match step(optimizer) {
                Status::Argument => CStr::from_ptr(himuon_last_error()).to_bytes(),
                _ => return 1,
            };
            if !said.starts_with(b"this optimizer was built before the process forked") {
                return 2;
            }
            if himuon_set_weight_decay(optimizer, c"w".as_ptr(), 0.0) != Status::Argument {
                return 3;
            }
            if himuon_steps_taken(optimizer) != 1 {
                return 4;
            }
            himuon_free(optimizer);
            let own = build();
            let stepped = step(own);
            himuon_free(own);
            if stepped == Status::Ok { 0 } else { 5 }
        }
    });
    assert_eq!(ended, 0, "below 0: a signal, -14 of what waits for ever");
    assert_eq!(step(optimizer), Status::Ok);
    // SAFETY: built above.
    unsafe { himuon_free(optimizer) };
}
