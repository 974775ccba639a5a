//! Scales, layouts, views and coarse parts by number are those of the Rust library.
#![allow(unsafe_code, clippy::unwrap_used)]

use std::ffi::CStr;
use std::ptr::null_mut;

use himuon::launch::ScaleRule;
use himuon::optimizer::{self, Layout as Rows};
use himuon::tensor::{TensorMut, TensorRef};
use himuon::{HiMuon, ParameterStep};
use himuon_c::*;

/// Two matrices, whose rows are shorter or longer than their columns.
const SHAPE: [usize; 3] = [2, 4, 8];
const STEPS: usize = 3;

fn gradient(step: usize) -> [f32; 64] {
    std::array::from_fn(|i| ((i + 64 * step) as f32 * 0.7).sin())
}

/// The weights after some steps from zero.
fn in_c(spec: &CStr, options: &MuonOptions) -> [f32; 64] {
    let builder = himuon_builder_new();
    let (mut optimizer, mut weight) = (null_mut(), [0.0; 64]);
    // SAFETY: what the functions ask for.
    unsafe {
        himuon_builder_parameter(builder, c"w".as_ptr(), SHAPE.as_ptr(), 3);
        let declared = himuon_builder_group(builder, c"w".as_ptr(), spec.as_ptr(), options);
        assert_eq!(declared, Status::Ok);
        assert_eq!(himuon_build(builder, &mut optimizer), Status::Ok);
        for step in 0..STEPS {
            let tensor = |numbers: &mut [f32; 64]| Tensor {
                data: numbers.as_mut_ptr().cast(),
                len: 64,
                element: HIMUON_F32,
            };
            let (weight, gradient) = (tensor(&mut weight), tensor(&mut gradient(step)));
            let stepped = himuon_step(optimizer, &weight, &gradient, 1, null_mut());
            assert_eq!(stepped, Status::Ok);
        }
        himuon_free(optimizer);
    }
    weight
}

fn in_rust(options: optimizer::MuonOptions) -> [f32; 64] {
    let mut optimizer = HiMuon::builder()
        .parameter("w", &SHAPE)
        .group_with("w", options)
        .build()
        .unwrap();
    let mut weight = [0.0; 64];
    for step in 0..STEPS {
        let gradient = gradient(step);
        let parameter = ParameterStep {
            weight: TensorMut::F32(&mut weight),
            gradient: Some(TensorRef::F32(&gradient)),
        };
        optimizer.step(&mut [parameter]).unwrap();
    }
    weight
}

#[test]
fn numbers_stand_for_the_rules_of_rust() {
    // Ragged tiles tell every rule from every other, but `none` from `original` of rows that are outputs. Coupled tiles are scaled as
    // the matrix, and alike by `exact`, `paper` and `match_rms_adamw`.
    for (spec, different) in [(c"tile=3", 5), (c"tile=2 coarse=2", 3)] {
        assert_eq!(different_rules(spec), different, "{spec:?}");
    }
}

/// Compares every scale and layout with those of Rust; how many differ from each other.
fn different_rules(spec: &CStr) -> usize {
    let stack = || {
        optimizer::MuonOptions::specs([spec.to_str().unwrap().parse().unwrap()])
            .view(optimizer::View::Stack)
    };
    let options = MuonOptions {
        view: HIMUON_VIEW_STACK,
        ..MuonOptions::default()
    };
    assert_eq!(in_c(spec, &options), in_rust(stack()), "the defaults");
    let scales = [
        (HIMUON_SCALE_EXACT, ScaleRule::Exact),
        (HIMUON_SCALE_PAPER, ScaleRule::Paper),
        (HIMUON_SCALE_ORIGINAL, ScaleRule::Original),
        (HIMUON_SCALE_MATCH_RMS_ADAMW, ScaleRule::MatchRmsAdamW),
        (HIMUON_SCALE_NONE, ScaleRule::None),
    ];
    let layouts = [
        (HIMUON_LAYOUT_OUT_IN, Rows::OutIn),
        (HIMUON_LAYOUT_IN_OUT, Rows::InOut),
    ];
    let mut seen = Vec::new();
    for ((scale, rule), (layout, rows)) in scales.into_iter().flat_map(|s| layouts.map(|l| (s, l)))
    {
        let options = MuonOptions {
            scale,
            layout,
            scale_factor: 0.3,
            coarse_factor: 0.25,
            coarse_momentum: 0.7,
            ..options
        };
        let same = stack()
            .scale(rule)
            .layout(rows)
            .scale_factor(0.3)
            .coarse_factor(0.25)
            .coarse_momentum(0.7);
        let weights = in_c(spec, &options);
        assert_eq!(weights, in_rust(same), "{rule:?}, {rows:?}");
        if !seen.contains(&weights) {
            seen.push(weights);
        }
    }
    let convolution = MuonOptions {
        view: HIMUON_VIEW_CONVOLUTION,
        ..options
    };
    assert_ne!(in_c(spec, &convolution), in_c(spec, &options));
    seen.len()
}

#[test]
fn numbers_that_stand_for_nothing_are_refused() {
    let default = MuonOptions::default();
    let wrong = [
        (
            MuonOptions {
                scale: 5,
                ..default
            },
            "HIMUON_SCALE_NONE (4)",
        ),
        (
            MuonOptions {
                layout: 2,
                ..default
            },
            "HIMUON_LAYOUT_IN_OUT (1)",
        ),
        (MuonOptions { view: 9, ..default }, "the view is 9"),
    ];
    for (options, text) in wrong {
        let builder = himuon_builder_new();
        // SAFETY: what the functions ask for; the text is read before anything else fails.
        unsafe {
            let declared =
                himuon_builder_group(builder, c"w".as_ptr(), c"tile=2".as_ptr(), &options);
            assert_eq!(declared, Status::Argument);
            let said = CStr::from_ptr(himuon_last_error()).to_str().unwrap();
            assert!(said.contains(text), "{said}");
            himuon_builder_free(builder);
        }
    }
}
