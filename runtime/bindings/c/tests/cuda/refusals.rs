//! What is refused, with nothing changed.

use std::ffi::{CStr, c_void};
use std::ptr::{NonNull, null_mut};

use cudarc::driver::sys::{CUgraphInstantiate_flags, CUstreamCaptureMode};
use himuon::cuda::DeviceRef;
use himuon_c::*;

use crate::caller::Caller;
use crate::{declared, emulated, fill, len, said, tensor, weights};

#[test]
fn what_a_device_cannot_step_is_refused_and_nothing_changes() {
    let test = "refusals::what_a_device_cannot_step_is_refused_and_nothing_changes";
    emulated(test, &[], || {
        let mut caller = Caller::new(&weights());
        let optimizer = caller.build();
        let (weights, gradients) = (
            caller.tensors(&caller.weights),
            caller.tensors(&caller.gradients),
        );
        let before = caller.read();
        let mut earlier = (null_mut(), 0);
        // SAFETY: all places are there.
        let save =
            || unsafe { himuon_save_state_to_bytes(optimizer, &mut earlier.0, &mut earlier.1) };
        assert_eq!(caller.call(save), Status::Ok, "{}", said());
        let moved = |tensor: Tensor, bytes: usize| Tensor {
            data: tensor.data.wrapping_byte_add(bytes),
            ..tensor
        };
        let of = |element: Element| Tensor {
            element,
            ..weights[0]
        };
        let mut of_process = fill(len(0), 7);
        let of_process = tensor(of_process.as_mut_ptr().cast(), len(0));
        let neighbour = caller.current.default_stream();
        let of_neighbour = neighbour.clone_htod(&fill(len(0), 7)).unwrap();
        let address = DeviceRef::of(&of_neighbour, &neighbour).address();
        let of_neighbour = tensor(address as *mut c_void, len(0));
        use Status::{Argument, Refused};
        for (weight, status, reason) in [
            (moved(weights[0], 2), Argument, "multiple of 4"),
            (weights[1], Argument, "weight 0 and weight 1 overlap"),
            (gradients[0], Argument, "overlap"),
            (tensor(null_mut(), len(0)), Argument, "weight 0 is null"),
            (tensor(of_process.data, 0), Refused, "0"),
            (of_process, Argument, "weight 0: 0x"),
            (of_process, Argument, "no memory that CUDA knows"),
            (of_neighbour, Argument, "memory of CUDA device 0"),
            (of(9), Argument, "element type 9"),
            (of(HIMUON_BF16), Refused, "bf16"),
            (of(HIMUON_F16), Refused, "f16"),
        ] {
            let weights = [weight, weights[1]];
            let (found, _) = caller.try_step(optimizer, &weights, &gradients);
            assert_eq!(found, status, "{reason}: {}", said());
            assert!(said().contains(reason), "{reason}: {}", said());
        }
        let mixed = [
            Tensor {
                element: HIMUON_BF16,
                ..gradients[0]
            },
            gradients[1],
        ];
        let (found, _) = caller.try_step(optimizer, &weights, &mixed);
        assert_eq!(found, Refused, "{}", said());
        assert!(said().contains("the gradient is Bf16"), "{}", said());
        // In a capture a step is no part of a graph; the stream is the caller's, so it is that one which tells.
        let mode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED;
        caller.stream.begin_capture(mode).unwrap();
        let (found, _) = caller.try_step(optimizer, &weights, &gradients);
        assert_eq!(found, Refused);
        assert!(said().contains("captured"), "{}", said());
        let (mut bytes, mut len) = (NonNull::dangling().as_ptr(), 0);
        let mut counts = Counts::default();
        // SAFETY: all places are there.
        unsafe {
            let saved = caller.call(|| himuon_save_state_to_bytes(optimizer, &mut bytes, &mut len));
            assert_eq!(saved, Refused);
            assert!(said().contains("captured") && bytes.is_null(), "{}", said());
            let state = earlier.0.cast_const();
            let loaded = himuon_load_state_from_bytes(optimizer, state, earlier.1, null_mut());
            assert_eq!(loaded, Refused);
            assert!(said().contains("captured"), "{}", said());
            let counted = caller.call(|| himuon_tile_counts(optimizer, &mut counts));
            assert_eq!(counted, Refused);
            assert!(said().contains("captured"), "{}", said());
        }
        let _ = caller
            .stream
            .end_capture(CUgraphInstantiate_flags(0))
            .unwrap();
        assert_eq!(caller.read(), before);
        // SAFETY: null is refused.
        unsafe {
            assert_eq!(himuon_steps_taken(optimizer), 0);
            let counted = caller.call(|| himuon_tile_counts(optimizer, null_mut()));
            assert_eq!(counted, Argument);
            let mut counts = Counts::default();
            assert_eq!(himuon_tile_counts(null_mut(), &mut counts), Argument);
            assert!(said().contains("himuon_build_cuda"), "{}", said());
        }
        caller.step(optimizer, &crate::gradients(0));
        assert_ne!(caller.read(), before);
        // Also where it takes the place of one that was the device's.
        let gradients = [of_process, gradients[1]];
        let (found, _) = caller.try_step(optimizer, &weights, &gradients);
        assert_eq!(found, Argument, "{}", said());
        assert!(said().contains("gradient 0"), "{}", said());
        // SAFETY: what was saved above.
        unsafe { himuon_bytes_free(earlier.0, earlier.1) };
        caller.free(optimizer);
        builds_that_are_none_are_refused(&caller);
        streams_of_others_are_refused(&caller);
    });
}

/// The fault of a kernel takes the device's context. It is found by whatever call comes next, and the caller's own context
/// is the current one all the same.
#[test]
fn a_device_that_is_lost_is_a_torn_step() {
    let test = "refusals::a_device_that_is_lost_is_a_torn_step";
    emulated(test, &[("HIMUON_EMULATOR_FAIL", "launch:2")], || {
        let caller = Caller::new(&weights());
        let optimizer = caller.build();
        let (weights, gradients) = (
            caller.tensors(&caller.weights),
            caller.tensors(&caller.gradients),
        );
        let (stepped, _) = caller.try_step(optimizer, &weights, &gradients);
        assert_eq!(stepped, Status::Ok, "{}", said());
        let mut counts = Counts::default();
        // SAFETY: both are there.
        let counted = caller.call(|| unsafe { himuon_tile_counts(optimizer, &mut counts) });
        assert_eq!(counted, Status::Torn, "{}", said());
        assert!(said().contains("start a new one"), "{}", said());
        // Gradients that it was not asked about yet.
        let moved = [gradients[1], gradients[0]];
        for gradients in [&moved[..], &gradients] {
            let (stepped, _) = caller.try_step(optimizer, &weights, gradients);
            assert_eq!(stepped, Status::Torn, "{}", said());
        }
        caller.free(optimizer);
    });
}

fn streams_of_others_are_refused(caller: &Caller) {
    let of_neighbour = caller.current.new_stream().unwrap();
    let per_thread = 2 as *mut c_void;
    for (stream, reason) in [
        (
            of_neighbour.cu_stream().cast(),
            "not one of the context of CUDA device 1",
        ),
        (per_thread, "per-thread"),
    ] {
        let mut optimizer = NonNull::dangling().as_ptr();
        // SAFETY: what is wrong is refused.
        let build =
            || unsafe { himuon_build_cuda(declared(), Caller::DEVICE, stream, &mut optimizer) };
        assert_eq!(caller.call(build), Status::Argument, "{}", said());
        assert!(said().contains(reason), "{}", said());
        assert!(optimizer.is_null());
    }
}

fn builds_that_are_none_are_refused(caller: &Caller) {
    let mut optimizer = null_mut();
    let coarse = builder(c"tile=16 coarse=4 power=1/2", MuonOptions::default());
    let options = MuonOptions {
        row_normalisation: true,
        ..MuonOptions::default()
    };
    let normalised = builder(c"tile=16 power=1/2", options);
    // SAFETY: what is wrong is refused.
    unsafe {
        let build = || himuon_build_cuda(declared(), 2, null_mut(), &mut optimizer);
        assert_eq!(caller.call(build), Status::Refused);
        assert!(said().contains("no CUDA device 2: 2 found"), "{}", said());
        let build = || himuon_build_cuda(null_mut(), 0, null_mut(), &mut optimizer);
        assert_eq!(caller.call(build), Status::Argument);
        let build = || himuon_build_cuda(declared(), 0, null_mut(), null_mut());
        assert_eq!(caller.call(build), Status::Argument);
        for (builder, reason) in [(coarse, "coarse"), (normalised, "row normalisation")] {
            let build = || himuon_build_cuda(builder, 1, null_mut(), &mut optimizer);
            assert_eq!(caller.call(build), Status::Refused);
            assert!(said().contains(reason), "{}", said());
        }
    }
    assert!(optimizer.is_null());
}

/// One matrix.
fn builder(specification: &CStr, options: MuonOptions) -> *mut Builder {
    let builder = himuon_builder_new();
    // SAFETY: what the functions ask for.
    unsafe {
        himuon_builder_parameter(builder, c"w".as_ptr(), [32, 32].as_ptr(), 2);
        let (all, spec) = (c"*".as_ptr(), specification.as_ptr());
        let grouped = himuon_builder_group(builder, all, spec, &options);
        assert_eq!(grouped, Status::Ok, "{}", said());
    }
    builder
}
