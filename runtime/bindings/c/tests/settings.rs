//! Schedules, and what changes between steps.
#![allow(unsafe_code, clippy::unwrap_used)]

use std::ffi::{CStr, CString, c_char};
use std::ptr::{null, null_mut};

use himuon_c::*;

fn said() -> String {
    // SAFETY: never null, and nothing fails meanwhile.
    let text = unsafe { CStr::from_ptr(himuon_last_error()) };
    text.to_str().unwrap().to_owned()
}

/// An 8 x 8 parameter with tiles of 2 and 4, whose schedule `declare` sets.
fn optimizer(declare: impl FnOnce(*mut Builder)) -> *mut Optimizer {
    let builder = himuon_builder_new();
    let mut optimizer = null_mut();
    // SAFETY: what the functions ask for.
    unsafe {
        himuon_builder_parameter(builder, c"w".as_ptr(), [8, 8].as_ptr(), 2);
        let specs = c"tile=2; tile=4".as_ptr();
        himuon_builder_group(builder, c"w*".as_ptr(), specs, null());
        himuon_builder_threads(builder, 1);
        declare(builder);
        assert_eq!(
            himuon_build(builder, &mut optimizer),
            Status::Ok,
            "{}",
            said()
        );
    }
    optimizer
}

/// Takes a step; gives its number of tiles.
fn step(optimizer: *mut Optimizer, weight: &mut [f32; 64]) -> u64 {
    let mut gradient: [f32; 64] = std::array::from_fn(|i| (i as f32 * 0.7).sin());
    let tensor = |numbers: &mut [f32; 64]| Tensor {
        data: numbers.as_mut_ptr().cast(),
        len: 64,
        element: HIMUON_F32,
    };
    let mut report = Report::default();
    let (weight, gradient) = (tensor(weight), tensor(&mut gradient));
    // SAFETY: both tensors are there and apart.
    let status = unsafe { himuon_step(optimizer, &weight, &gradient, 1, &mut report) };
    assert_eq!(status, Status::Ok, "{}", said());
    report.tiles
}

#[test]
fn tiles_follow_the_schedule() {
    let tiles = |optimizer| {
        let mut weight = [0.5; 64];
        let tiles: Vec<_> = (0..4).map(|_| step(optimizer, &mut weight)).collect();
        // SAFETY: built above.
        unsafe { himuon_free(optimizer) };
        tiles
    };
    let change = |step: u64, tile: &'static CStr| TileChange {
        step,
        tile: tile.as_ptr(),
    };
    let changes = [change(0, c"2"), change(1, c"4"), change(3, c"2")];
    // SAFETY: the builder and the changes are there.
    let listed = optimizer(|builder| unsafe {
        let declared = himuon_builder_schedule_changes(builder, changes.as_ptr(), changes.len());
        assert_eq!(declared, Status::Ok, "{}", said());
    });
    assert_eq!(tiles(listed), [16, 4, 4, 16]);
    // SAFETY: the builder is there.
    let periodic = optimizer(|builder| unsafe {
        let (tile, every) = (c"2".as_ptr(), c"4".as_ptr());
        let declared = himuon_builder_schedule_periodic(builder, tile, every, 2, 0.5);
        assert_eq!(declared, Status::Ok, "{}", said());
    });
    assert_eq!(tiles(periodic), [4, 16, 4, 16]);
}

#[test]
fn a_group_lists_its_parameters() {
    let builder = himuon_builder_new();
    let names = [c"a[0]", c"head"];
    let listed = names.map(|name| name.as_ptr());
    let (group, spec) = (c"listed".as_ptr(), c"tile=4".as_ptr());
    let every = MuonOptions {
        every_matrix: true,
        ..MuonOptions::default()
    };
    let (mut optimizer, mut text) = (null_mut(), null_mut());
    // SAFETY: what the functions ask for; null is refused.
    unsafe {
        for name in [c"b", names[0], names[1]] {
            himuon_builder_parameter(builder, name.as_ptr(), [8, 8].as_ptr(), 2);
        }
        let null_list = himuon_builder_group_of(builder, group, null(), 2, spec, null());
        assert_eq!(null_list, Status::Argument, "{}", said());
        let nameless = [null()];
        let refused = himuon_builder_group_of(builder, group, nameless.as_ptr(), 1, spec, null());
        assert_eq!(refused, Status::Argument, "{}", said());
        let declared = himuon_builder_group_of(builder, group, listed.as_ptr(), 2, spec, &every);
        assert_eq!(declared, Status::Ok, "{}", said());
        assert_eq!(
            himuon_build(builder, &mut optimizer),
            Status::Ok,
            "{}",
            said()
        );
        assert_eq!(himuon_set_momentum(optimizer, group, 0.9), Status::Ok);
        assert_eq!(himuon_explain(optimizer, &mut text), Status::Ok);
        let lines = CStr::from_ptr(text).to_str().unwrap();
        let mapped = |line: &&str| line.contains("listed") && line.contains("4 tiles");
        assert_eq!(lines.lines().take(3).filter(mapped).count(), 2, "{lines}");
        himuon_text_free(text);
        himuon_free(optimizer);
    }
}

#[test]
fn schedules_that_are_none_are_refused() {
    let builder = himuon_builder_new();
    let (two, four) = (c"2".as_ptr(), c"4".as_ptr());
    let late = TileChange { step: 1, tile: two };
    // SAFETY: the builder is there; null is refused.
    unsafe {
        let refused = himuon_builder_schedule_periodic(builder, two, four, 0, 1.0);
        assert_eq!(refused, Status::Refused);
        assert!(said().contains("period"), "{}", said());
        let wrong: *const c_char = c"2y2".as_ptr();
        let refused = himuon_builder_schedule_periodic(builder, two, wrong, 2, 1.0);
        assert_eq!(refused, Status::Refused);
        assert!(said().contains("2y2"), "{}", said());
        let refused = himuon_builder_schedule_changes(builder, &late, 1);
        assert_eq!(refused, Status::Refused);
        assert!(said().contains("step 0"), "{}", said());
        let refused = himuon_builder_schedule_changes(builder, null(), 1);
        assert_eq!(refused, Status::Argument);
        himuon_builder_free(builder);
    }
}

#[test]
fn rates_decay_and_momentum_change_between_steps() {
    let optimizer = optimizer(|_| {});
    let mut weight = [0.5; 64];
    step(optimizer, &mut weight);
    let group = c"w*".as_ptr();
    // SAFETY: the optimizer and the texts are there.
    unsafe {
        assert_eq!(
            himuon_set_group_learning_rate(optimizer, group, 0.0),
            Status::Ok
        );
        let before = weight;
        step(optimizer, &mut weight);
        assert_eq!(weight, before);
        let factor = himuon_set_group_learning_rate_factor(optimizer, group, 2.0);
        assert_eq!(factor, Status::Ok);
        assert_eq!(himuon_set_weight_decay(optimizer, group, 0.0), Status::Ok);
        assert_eq!(himuon_set_momentum(optimizer, group, 0.9), Status::Ok);
        step(optimizer, &mut weight);
        assert!(weight != before);

        for (text, what) in [(c"w*", "momentum"), (c"v*", "v*")] {
            let status = himuon_set_momentum(optimizer, text.as_ptr(), 1.0);
            assert_eq!(status, Status::Refused);
            assert!(said().contains(what), "{}", said());
        }
        let betas = himuon_set_betas(optimizer, group, 0.9, 0.99);
        assert_eq!(betas, Status::Refused);
        assert!(said().contains("w*"), "{}", said());
        let rest = c"(rest)".as_ptr();
        let betas = himuon_set_betas(optimizer, rest, 0.9, 0.99);
        assert_eq!(betas, Status::Ok, "{}", said());
        assert_eq!(himuon_set_betas(optimizer, rest, 0.9, 1.0), Status::Refused);
        let status = himuon_set_weight_decay(optimizer, CString::default().as_ptr(), 0.1);
        assert_eq!(status, Status::Refused);
        assert_eq!(
            himuon_set_weight_decay(optimizer, null(), 0.1),
            Status::Argument
        );
        himuon_free(optimizer);
    }
}

#[test]
fn a_state_goes_through_memory() {
    let (first, second) = (optimizer(|_| {}), optimizer(|_| {}));
    let mut weight = [0.5; 64];
    step(first, &mut weight);
    let mut resumed = weight;
    let (mut bytes, mut len, mut differences) = (null_mut(), 0, null_mut());
    // SAFETY: the optimizers are there, and the state until it is freed; null is refused.
    unsafe {
        let saved = himuon_save_state_to_bytes(first, &mut bytes, &mut len);
        assert_eq!(saved, Status::Ok, "{}", said());
        let cut = himuon_load_state_from_bytes(second, bytes, len - 1, null_mut());
        assert_eq!((cut, himuon_steps_taken(second)), (Status::Refused, 0));
        let loaded = himuon_load_state_from_bytes(second, bytes, len, &mut differences);
        assert_eq!(loaded, Status::Ok, "{}", said());
        assert_eq!(CStr::from_ptr(differences), c"");
        himuon_text_free(differences);
        himuon_bytes_free(bytes, len);
        himuon_bytes_free(null_mut(), 0);
        let refused = himuon_load_state_from_bytes(second, null(), 0, null_mut());
        assert_eq!(refused, Status::Argument);
        let refused = himuon_save_state_to_bytes(first, &mut bytes, null_mut());
        assert_eq!(refused, Status::Argument);
    }
    step(first, &mut weight);
    step(second, &mut resumed);
    assert_eq!(weight, resumed);
    // SAFETY: built above.
    unsafe { [first, second].into_iter().for_each(|o| himuon_free(o)) };
}

/// The first step from zero weights is the normalised map: all its rows have the same root mean square.
#[test]
fn rows_are_normalised() {
    let spread = |normalised: bool| {
        let builder = himuon_builder_new();
        let options = MuonOptions {
            row_normalisation: normalised,
            ..MuonOptions::default()
        };
        let mut optimizer = null_mut();
        // SAFETY: what the functions ask for.
        unsafe {
            himuon_builder_parameter(builder, c"w".as_ptr(), [8, 8].as_ptr(), 2);
            himuon_builder_group(builder, c"w".as_ptr(), c"tile=4".as_ptr(), &options);
            assert_eq!(himuon_build(builder, &mut optimizer), Status::Ok);
        }
        let mut weight = [0.0; 64];
        step(optimizer, &mut weight);
        // SAFETY: built above.
        unsafe { himuon_free(optimizer) };
        let rows = weight.chunks(8).map(|row| row.iter().map(|w| w * w).sum());
        let rows: Vec<f32> = rows.collect();
        let (least, most) = rows.iter().fold((f32::MAX, 0.0_f32), |(a, b), row| {
            (a.min(*row), b.max(*row))
        });
        most / least
    };
    assert!(
        spread(true) < 1.0001 && spread(false) > 1.01,
        "{} and {}",
        spread(true),
        spread(false)
    );
    let options = MuonOptions {
        row_normalisation: true,
        row_beta2: 1.5,
        ..MuonOptions::default()
    };
    let builder = himuon_builder_new();
    let mut optimizer = null_mut();
    // SAFETY: what the functions ask for.
    unsafe {
        himuon_builder_parameter(builder, c"w".as_ptr(), [8, 8].as_ptr(), 2);
        himuon_builder_group(builder, c"w".as_ptr(), c"tile=4".as_ptr(), &options);
        assert_eq!(himuon_build(builder, &mut optimizer), Status::Refused);
    }
    assert!(said().contains("normalisation"), "{}", said());
}

/// A group of AdamW may keep the f32 masters of bf16 weights.
#[test]
fn masters_of_vectors_are_kept() {
    let builder = himuon_builder_new();
    let options = AdamWOptions {
        master_weights: true,
        ..AdamWOptions::default()
    };
    // 1 and 1/2.
    let (mut weight, mut gradient) = ([0x3f80_u16; 4], [0x3f00_u16; 4]);
    let weights = Tensor {
        data: weight.as_mut_ptr().cast(),
        len: 4,
        element: HIMUON_BF16,
    };
    let gradients = Tensor {
        data: gradient.as_mut_ptr().cast(),
        ..weights
    };
    let (mut optimizer, mut bytes, mut len) = (null_mut(), null_mut(), 0);
    // SAFETY: what the functions ask for.
    unsafe {
        himuon_builder_parameter(builder, c"bias".as_ptr(), [4].as_ptr(), 1);
        himuon_builder_group_adamw(builder, c"bias".as_ptr(), &options);
        assert_eq!(himuon_build(builder, &mut optimizer), Status::Ok);
        let stepped = himuon_step(optimizer, &weights, &gradients, 1, null_mut());
        assert_eq!(stepped, Status::Ok, "{}", said());
        let saved = himuon_save_state_to_bytes(optimizer, &mut bytes, &mut len);
        assert_eq!(saved, Status::Ok, "{}", said());
        let state = std::slice::from_raw_parts(bytes, len);
        let state = String::from_utf8_lossy(state);
        assert!(state.contains("bias.master_remainder"), "{state}");
        himuon_bytes_free(bytes, len);
        himuon_free(optimizer);
    }
}
