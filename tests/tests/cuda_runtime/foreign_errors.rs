//! Errors of others in a context that a program shares with the optimizer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cudarc::driver::DriverError;
use cudarc::driver::sys::CUresult;
use himuon::Error;
use himuon::optimizer::Protection;

use crate::emulator::emulated;
use crate::faults::{ON_CHIP, start};

/// cudarc keeps the error of a drop, whoever's it was, for the next call in the same context.
#[test]
fn an_error_that_something_else_left_behind_tears_nothing() {
    let test = "foreign_errors::an_error_that_something_else_left_behind_tears_nothing";
    emulated(test, &[], || {
        let (mut device, mut optimizer) = start(ON_CHIP, Protection::None);
        let (mut other, mut undisturbed) = start(ON_CHIP, Protection::None);
        device.step(&mut optimizer);
        other.step(&mut undisturbed);
        let of_a_drop = DriverError(CUresult::CUDA_ERROR_INVALID_VALUE);
        let context = device.stream.context();
        context.record_err::<()>(Err(of_a_drop));
        let stepped = optimizer.step(&mut device.parameters());
        let Err(Error::Backend(error)) = &stepped else {
            panic!("{stepped:?}");
        };
        assert!(error.to_string().contains("INVALID_VALUE"), "{error}");
        device.step(&mut optimizer);
        other.step(&mut undisturbed);
        assert_eq!(device.bits(), other.bits());
        assert_eq!(optimizer.steps_taken(), 2);
    });
}

/// What other threads leave behind in the middle of a step is returned before one, not taken for a failure of its launches.
#[test]
fn errors_that_others_leave_behind_meanwhile_tear_nothing() {
    let test = "foreign_errors::errors_that_others_leave_behind_meanwhile_tear_nothing";
    emulated(test, &[], || {
        let (mut device, mut optimizer) = start(ON_CHIP, Protection::None);
        let (mut other, mut undisturbed) = start(ON_CHIP, Protection::None);
        let context = Arc::clone(device.stream.context());
        let ended = AtomicBool::new(false);
        let mut returned = 0;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !ended.load(Ordering::Relaxed) {
                    context.record_err::<()>(Err(DriverError(CUresult::CUDA_ERROR_INVALID_VALUE)));
                }
            });
            for _ in 0..200 {
                match optimizer.step(&mut device.parameters()) {
                    Ok(_) => {}
                    Err(Error::Backend(_)) => returned += 1,
                    Err(error) => panic!("{error:?}"),
                }
            }
            ended.store(true, Ordering::Relaxed);
        });
        println!("measured: {returned} of 200 steps returned an error of the other thread");
        let _ = context.check_err();
        let mut taken = 0;
        while taken < optimizer.steps_taken() {
            other.step(&mut undisturbed);
            taken += 1;
        }
        assert_eq!(device.bits(), other.bits());
    });
}
