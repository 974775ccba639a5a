//! What is wrong is refused with a reason, and changes nothing.
#![allow(unsafe_code, clippy::unwrap_used)]

use std::ffi::{CStr, CString};
use std::ptr::{NonNull, null, null_mut};

use himuon_c::*;

fn said() -> String {
    // SAFETY: never null, and nothing fails meanwhile.
    let text = unsafe { CStr::from_ptr(himuon_last_error()) };
    text.to_str().unwrap().to_owned()
}

fn text(text: &str) -> CString {
    CString::new(text).unwrap()
}

fn tensor(numbers: &mut [f32]) -> Tensor {
    Tensor {
        data: numbers.as_mut_ptr().cast(),
        len: numbers.len(),
        element: HIMUON_F32,
    }
}

/// Two parameters of 4 x 4 with tiles of 2.
fn optimizer() -> *mut Optimizer {
    let builder = himuon_builder_new();
    let mut optimizer = null_mut();
    // SAFETY: what the functions ask for.
    unsafe {
        for name in ["a", "b"] {
            let name = text(name);
            let declared = himuon_builder_parameter(builder, name.as_ptr(), [4, 4].as_ptr(), 2);
            assert_eq!(declared, Status::Ok);
        }
        let (all, spec) = (text("*"), text("tile=2"));
        let grouped = himuon_builder_group(builder, all.as_ptr(), spec.as_ptr(), null());
        assert_eq!(grouped, Status::Ok, "{}", said());
        assert_eq!(himuon_builder_threads(builder, 1), Status::Ok);
        assert_eq!(himuon_build(builder, &mut optimizer), Status::Ok);
    }
    optimizer
}

#[test]
fn tensors_that_are_none_are_refused_before_a_weight_changes() {
    let optimizer = optimizer();
    let mut numbers = [1.0; 64];
    let mut gradients = [0.5; 32];
    let (weights, rest) = numbers.split_at_mut(32);
    let (a, b) = weights.split_at_mut(16);
    let (a, b) = (tensor(a), tensor(b));
    let (first, second) = gradients.split_at_mut(16);
    let gradients = [tensor(first), tensor(second)];
    let moved = |tensor: Tensor, bytes: usize| Tensor {
        data: tensor.data.wrapping_byte_add(bytes),
        ..tensor
    };
    let cases = [
        ([a, moved(b, 1)], gradients, "multiple of 4"),
        ([a, moved(b, 2)], gradients, "multiple of 4"),
        ([a, moved(a, 8)], gradients, "weight 0 and weight 1 overlap"),
        ([a, a], gradients, "overlap"),
        (
            [a, b],
            [moved(b, 4), gradients[1]],
            "weight 1 and gradient 0 overlap",
        ),
        (
            [
                a,
                Tensor {
                    data: null_mut(),
                    ..b
                },
            ],
            gradients,
            "weight 1 is null",
        ),
        ([a, Tensor { element: 9, ..b }], gradients, "element type 9"),
        (
            [
                a,
                Tensor {
                    len: usize::MAX,
                    ..b
                },
            ],
            gradients,
            "no memory holds",
        ),
    ];
    for (weights, gradients, reason) in cases {
        // SAFETY: what is wrong is looked for before a number is read.
        let status = unsafe {
            himuon_step(
                optimizer,
                weights.as_ptr(),
                gradients.as_ptr(),
                2,
                null_mut(),
            )
        };
        assert_eq!(status, Status::Argument);
        assert!(said().contains(reason), "{reason}: {}", said());
    }
    // Another number of tensors than are declared, before any of them is looked at.
    for count in [0, 1, 3] {
        let nowhere = std::ptr::dangling::<Tensor>();
        // SAFETY: nothing is read at either address.
        let status = unsafe { himuon_step(optimizer, nowhere, nowhere, count, null_mut()) };
        assert_eq!(status, Status::Refused, "{}", said());
        assert!(said().contains(&format!("got {count} parameters, 2 are declared")));
    }
    // A length that the parameter does not have is the library's to refuse.
    let short = [a, Tensor { len: 15, ..b }];
    // SAFETY: the tensors are there.
    let status =
        unsafe { himuon_step(optimizer, short.as_ptr(), gradients.as_ptr(), 2, null_mut()) };
    assert_eq!(status, Status::Refused, "{}", said());
    assert!(rest.iter().all(|number| *number == 1.0));
    // SAFETY: as above; gradients may share memory, and one may be missing.
    unsafe {
        assert_eq!(himuon_steps_taken(optimizer), 0);
        let shared = [gradients[0], gradients[0]];
        let mut report = Report::default();
        let status = himuon_step(optimizer, [a, b].as_ptr(), shared.as_ptr(), 2, &mut report);
        assert_eq!((status, report.tiles), (Status::Ok, 8), "{}", said());
        let missing = [
            gradients[0],
            Tensor {
                data: null_mut(),
                ..gradients[1]
            },
        ];
        let status = himuon_step(optimizer, [a, b].as_ptr(), missing.as_ptr(), 2, &mut report);
        assert_eq!(
            (status, report.missing_gradients),
            (Status::Ok, 1),
            "{}",
            said()
        );
        himuon_free(optimizer);
    }
}

#[test]
fn handles_and_texts_that_are_none_are_refused() {
    let (all, spec) = (text("*"), text("tile=0"));
    // SAFETY: null is refused by each.
    unsafe {
        assert_eq!(
            himuon_step(null_mut(), null(), null(), 0, null_mut()),
            Status::Argument
        );
        assert!(said().contains("himuon_build"));
        assert_eq!(himuon_build(null_mut(), null_mut()), Status::Argument);
        let builder = himuon_builder_new();
        let latin: &[u8] = b"\xe9\0";
        let named = himuon_builder_parameter(builder, latin.as_ptr().cast(), null(), 0);
        assert_eq!(named, Status::Argument);
        assert!(said().contains("UTF-8"), "{}", said());
        let grouped = himuon_builder_group(builder, all.as_ptr(), spec.as_ptr(), null());
        assert_eq!(grouped, Status::Refused);
        assert!(said().contains("tile"), "{}", said());
        let mut optimizer = null_mut();
        assert_eq!(himuon_build(builder, &mut optimizer), Status::Refused);
        assert!(optimizer.is_null());
        himuon_builder_free(null_mut());
        himuon_free(null_mut());
        himuon_text_free(null_mut());
    }
}

#[test]
fn the_map_is_that_of_the_kernels() {
    let spec = text("tile=4 steps=5");
    let mut matrix: Vec<f32> = (0..64).map(|i| (i as f32 * 0.7).sin()).collect();
    let mut output = vec![0.0; 64];
    // SAFETY: the tensors are there.
    let status = unsafe {
        himuon_map(
            spec.as_ptr(),
            tensor(&mut matrix),
            8,
            8,
            tensor(&mut output),
        )
    };
    assert_eq!(status, Status::Ok, "{}", said());
    let kernel = himuon::cpu::CpuKernel::new(&"tile=4 steps=5".parse().unwrap()).unwrap();
    let pool = himuon::cpu::Pool::new(1).unwrap();
    let mut expected = vec![0.0; 64];
    let input = himuon::tensor::TensorRef::F32(&matrix);
    let scale = himuon::cpu::ApplyScale::None;
    let mut workspace = himuon::cpu::Workspace::new();
    kernel
        .map(&pool, input, 8, 8, &mut expected, scale, &mut workspace)
        .unwrap();
    assert_eq!(output, expected);
}

/// A program that forgets to look at a status frees what it was given.
#[test]
fn places_of_what_failed_are_null() {
    let optimizer = optimizer();
    // SAFETY: what is wrong is refused; all else is there.
    unsafe {
        let mut built = NonNull::<Optimizer>::dangling().as_ptr();
        let empty = himuon_build(himuon_builder_new(), &mut built);
        assert_eq!((empty, built), (Status::Refused, null_mut()));
        let (mut bytes, mut len) = (NonNull::dangling().as_ptr(), 0);
        let saved = himuon_save_state_to_bytes(null_mut(), &mut bytes, &mut len);
        assert_eq!((saved, bytes), (Status::Argument, null_mut()));
        let mut place = NonNull::dangling().as_ptr();
        assert_eq!(himuon_explain(null_mut(), &mut place), Status::Argument);
        assert_eq!(place, null_mut());
        place = NonNull::dangling().as_ptr();
        assert_eq!(himuon_warnings(null_mut(), &mut place), Status::Argument);
        assert_eq!(place, null_mut());
        place = NonNull::dangling().as_ptr();
        let nowhere = text("there/is/no/such/file");
        let loaded = himuon_load_state(optimizer, nowhere.as_ptr(), &mut place);
        assert_eq!((loaded, place), (Status::Refused, null_mut()));
        let damaged = [1_u8, 2, 3];
        place = NonNull::dangling().as_ptr();
        let loaded = himuon_load_state_from_bytes(optimizer, damaged.as_ptr(), 3, &mut place);
        assert_eq!((loaded, place), (Status::Refused, null_mut()));
        assert_eq!(himuon_warnings(optimizer, &mut place), Status::Ok);
        assert_eq!(CStr::from_ptr(place), c"");
        himuon_text_free(place);
        himuon_free(optimizer);
    }
}

#[test]
fn rates_that_no_step_takes_are_refused() {
    let optimizer = optimizer();
    let builder = himuon_builder_new();
    // SAFETY: both are there.
    unsafe {
        for rate in [f64::NAN, -1.0, f64::INFINITY, 1e300] {
            assert_eq!(himuon_set_learning_rate(optimizer, rate), Status::Argument);
            assert!(said().contains("finite number"), "{}", said());
            assert_eq!(
                himuon_builder_learning_rate(builder, rate),
                Status::Argument
            );
        }
        assert_eq!(himuon_learning_rate(optimizer), 0.02);
        himuon_builder_free(builder);
        himuon_free(optimizer);
    }
}

#[test]
fn a_tensor_beyond_the_end_of_addresses_is_refused() {
    let optimizer = optimizer();
    let mut numbers = [0.0; 32];
    let (near, far) = numbers.split_at_mut(16);
    let beyond = Tensor {
        data: (usize::MAX - 15) as *mut std::ffi::c_void,
        ..tensor(near)
    };
    let weights = [beyond, tensor(far)];
    // SAFETY: what is wrong is refused.
    unsafe {
        let stepped = himuon_step(optimizer, weights.as_ptr(), weights.as_ptr(), 2, null_mut());
        assert_eq!(stepped, Status::Argument);
        assert!(said().contains("beyond the end"), "{}", said());
        himuon_free(optimizer);
    }
}
