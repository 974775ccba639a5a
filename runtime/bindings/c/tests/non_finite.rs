//! What a NaN does is what the builder says.
#![allow(unsafe_code, clippy::unwrap_used)]

use std::ffi::CStr;
use std::ptr::{null, null_mut};

use himuon_c::*;

fn said() -> String {
    // SAFETY: never null, and nothing fails meanwhile.
    let text = unsafe { CStr::from_ptr(himuon_last_error()) };
    text.to_str().unwrap().to_owned()
}

/// Takes a step over two 4 x 4 matrices with tiles of 2, of which the second has a NaN in its gradient; gives the status, the
/// report, both weights, which were 1, and the number of steps taken.
fn step(policy: Option<NonFinite>) -> (Status, Report, [[f32; 16]; 2], u64) {
    let builder = himuon_builder_new();
    let mut optimizer = null_mut();
    let (mut weights, mut gradients) = ([[1.0_f32; 16]; 2], [[0.5_f32; 16]; 2]);
    gradients[1][0] = f32::NAN;
    let tensor = |numbers: &mut [f32; 16]| Tensor {
        data: numbers.as_mut_ptr().cast(),
        len: 16,
        element: HIMUON_F32,
    };
    let mut report = Report::default();
    // SAFETY: what the functions ask for.
    unsafe {
        for name in [c"a", c"b"] {
            himuon_builder_parameter(builder, name.as_ptr(), [4, 4].as_ptr(), 2);
        }
        himuon_builder_group(builder, c"*".as_ptr(), c"tile=2".as_ptr(), null());
        himuon_builder_threads(builder, 1);
        if let Some(policy) = policy {
            assert_eq!(himuon_builder_non_finite(builder, policy), Status::Ok);
        }
        assert_eq!(himuon_build(builder, &mut optimizer), Status::Ok);
        let of = weights.each_mut().map(tensor);
        let by = gradients.each_mut().map(tensor);
        let status = himuon_step(optimizer, of.as_ptr(), by.as_ptr(), 2, &mut report);
        let steps = himuon_steps_taken(optimizer);
        himuon_free(optimizer);
        (status, report, weights, steps)
    }
}

#[test]
fn a_tile_a_step_or_an_error() {
    let untouched = [1.0; 16];
    for policy in [None, Some(HIMUON_NON_FINITE_SKIP_TILE)] {
        let (status, report, weights, _) = step(policy);
        assert_eq!((status, report.non_finite_tiles), (Status::Ok, 1));
        assert!(!report.skipped && weights.iter().all(|weight| *weight != untouched));
        assert_eq!([0, 1, 4, 5].map(|i| weights[1][i]), [1.0; 4]);
    }
    let (status, report, weights, steps) = step(Some(HIMUON_NON_FINITE_SKIP_STEP));
    assert_eq!((status, weights, steps), (Status::Ok, [untouched; 2], 1));
    assert_eq!((report.skipped, report.skipped_for), (true, 1));
    let (status, _, weights, steps) = step(Some(HIMUON_NON_FINITE_ERROR));
    assert_eq!(
        (status, weights, steps),
        (Status::Refused, [untouched; 2], 0)
    );
    assert!(
        said().contains("not finite") || said().contains("NaN"),
        "{}",
        said()
    );
}

#[test]
fn a_number_that_stands_for_nothing_is_refused() {
    let builder = himuon_builder_new();
    // SAFETY: the builder is there.
    unsafe {
        assert_eq!(himuon_builder_non_finite(builder, 3), Status::Argument);
        assert!(said().contains("HIMUON_NON_FINITE_ERROR (2)"), "{}", said());
        himuon_builder_free(builder);
    }
}
