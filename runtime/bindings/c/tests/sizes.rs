//! Structures say their size: those of programs that were compiled against another version are understood or refused.
#![allow(unsafe_code, clippy::unwrap_used)]

use std::ffi::CStr;
use std::ptr::{null, null_mut};

use himuon_c::*;

fn said() -> String {
    // SAFETY: never null, and nothing fails meanwhile.
    let text = unsafe { CStr::from_ptr(himuon_last_error()) };
    text.to_str().unwrap().to_owned()
}

fn refused(status: Status, parts: &[&str]) {
    let said = said();
    assert_eq!(status, Status::Argument, "{said}");
    assert!(parts.iter().all(|part| said.contains(part)), "{said}");
}

/// An optimizer of one 4 x 4 matrix.
fn optimizer() -> *mut Optimizer {
    let builder = himuon_builder_new();
    let mut optimizer = null_mut();
    // SAFETY: what the functions ask for.
    unsafe {
        himuon_builder_parameter(builder, c"w".as_ptr(), [4, 4].as_ptr(), 2);
        himuon_builder_group(builder, c"w".as_ptr(), c"tile=2".as_ptr(), null());
        himuon_builder_threads(builder, 1);
        assert_eq!(himuon_build(builder, &mut optimizer), Status::Ok);
    }
    optimizer
}

#[test]
fn the_header_has_the_version_of_the_library() {
    // SAFETY: never null, always valid.
    let version = unsafe { CStr::from_ptr(himuon_version()) };
    let parts = [
        HIMUON_VERSION_MAJOR,
        HIMUON_VERSION_MINOR,
        HIMUON_VERSION_PATCH,
    ];
    let parts = parts.map(|part| part.to_string());
    assert_eq!(version.to_str().unwrap(), parts.join("."));
}

#[test]
fn options_are_filled_as_far_as_the_program_knows_them() {
    let known = size_of::<MuonOptions>();
    let mut options = [MuonOptions {
        momentum: 0.5,
        ..MuonOptions::default()
    }; 2];
    let place = options.as_mut_ptr();
    let builder = himuon_builder_new();
    // SAFETY: the places are as long as is said, or refused before they are written to.
    unsafe {
        assert_eq!(himuon_muon_options_init(place, known), Status::Ok);
        assert_eq!(((*place).size, (*place).momentum), (known, 0.95));
        assert_eq!((*place.add(1)).momentum, 0.5);
        let later = himuon_muon_options_init(place, known + 8);
        refused(later, &["later one", &format!("is {}", known + 8)]);
        let earlier = himuon_muon_options_init(place, known - 8);
        refused(earlier, &["expected at least", "himuon_muon_options_init("]);
        refused(himuon_muon_options_init(null_mut(), known), &["null"]);

        // A program that has not begun with the defaults, and one of a later version.
        let (all, spec) = (c"*".as_ptr(), c"tile=2".as_ptr());
        (*place).size = 0;
        let group = himuon_builder_group(builder, all, spec, place);
        refused(group, &["size of the options of tiles is 0"]);
        (*place).size = known + 8;
        let group = himuon_builder_group(builder, all, spec, place);
        refused(group, &["later one"]);
        let mut adamw = AdamWOptions::default();
        adamw.size += 8;
        let group = himuon_builder_group_adamw(builder, all, &adamw);
        refused(group, &["the options of AdamW", "later one"]);
        himuon_builder_free(builder);
    }
}

#[test]
fn reports_without_their_size_are_refused_before_the_step() {
    let optimizer = optimizer();
    let (mut weight, mut gradient) = ([1.0_f32; 16], [0.5_f32; 16]);
    let tensor = |numbers: &mut [f32; 16]| Tensor {
        data: numbers.as_mut_ptr().cast(),
        len: 16,
        element: HIMUON_F32,
    };
    let (weights, gradients) = (tensor(&mut weight), tensor(&mut gradient));
    let mut report = Report {
        size: 0,
        ..Report::default()
    };
    let mut counts = Counts {
        size: 0,
        ..Counts::default()
    };
    // SAFETY: what the functions ask for, or refused.
    unsafe {
        let stepped = himuon_step(optimizer, &weights, &gradients, 1, &mut report);
        refused(
            stepped,
            &["size of the report is 0", ".size = sizeof report"],
        );
        assert_eq!(himuon_steps_taken(optimizer), 0);
        refused(himuon_tile_counts(optimizer, &mut counts), &["the counts"]);
        (report, counts) = Default::default();
        let stepped = himuon_step(optimizer, &weights, &gradients, 1, &mut report);
        assert_eq!((stepped, report.tiles), (Status::Ok, 4), "{}", said());
        assert_eq!(report.size, size_of::<Report>());
        assert_eq!(himuon_tile_counts(optimizer, &mut counts), Status::Ok);
        himuon_free(optimizer);
    }
    assert_ne!(weight, [1.0; 16]);
}
