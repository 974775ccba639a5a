//! Optimizers of a CUDA device through the functions of the header. The device is the emulated one: no GPU is needed.
#![cfg(unix)]
#![allow(unsafe_code, clippy::unwrap_used)] // Helpers fail their test.

mod caller;
mod kernels;
mod refusals;
mod steps;

use std::ffi::{CStr, c_void};
use std::ptr::{null, null_mut};

use himuon::cuda::{self, CudaError};
use himuon_c::*;
use himuon_toolkit::Toolkit;
use himuon_toolkit::emulated::{Isolated, isolated};

/// A ragged matrix and a vector, which goes to AdamW.
const SHAPES: [&[usize]; 2] = [&[36, 20], &[20]];
const NAMES: [&CStr; 2] = [c"layer.weight", c"layer.bias"];

fn said() -> String {
    // SAFETY: never null, and nothing fails meanwhile.
    let text = unsafe { CStr::from_ptr(himuon_last_error()) };
    text.to_str().unwrap().to_owned()
}

fn len(parameter: usize) -> usize {
    SHAPES[parameter].iter().product()
}

/// Numbers between -1/2 and 1/2.
fn fill(len: usize, mut seed: u32) -> Vec<f32> {
    let mut next = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 8) as f32 / 16_777_216.0 - 0.5
    };
    (0..len).map(|_| next()).collect()
}

/// The weights at the start, and the gradients of a step.
fn weights() -> Vec<Vec<f32>> {
    (0..2).map(|i| fill(len(i), 1 + i as u32)).collect()
}

fn gradients(step: u32) -> Vec<Vec<f32>> {
    (0..2)
        .map(|i| fill(len(i), 10 + 2 * step + i as u32))
        .collect()
}

fn declared() -> *mut Builder {
    let builder = himuon_builder_new();
    // SAFETY: what the functions ask for.
    unsafe {
        for (name, shape) in NAMES.iter().zip(SHAPES) {
            himuon_builder_parameter(builder, name.as_ptr(), shape.as_ptr(), shape.len());
        }
        himuon_builder_group_adamw(builder, c"*.bias".as_ptr(), null());
        let spec = c"tile=16".as_ptr();
        let grouped = himuon_builder_group(builder, c"layer.*".as_ptr(), spec, null());
        assert_eq!(grouped, Status::Ok, "{}", said());
        assert_eq!(himuon_builder_threads(builder, 1), Status::Ok);
    }
    builder
}

fn tensor(data: *mut c_void, len: usize) -> Tensor {
    Tensor {
        data,
        len,
        element: HIMUON_F32,
    }
}

/// Runs `body` in a child process whose CUDA driver is the emulated one, with two devices and this of its environment.
fn emulated(test: &str, more: &[(&str, &str)], body: impl FnOnce()) {
    const NVRTC: &str = "HIMUON_NVRTC_PATH";
    let nvrtc = match more.iter().find(|(name, _)| *name == NVRTC) {
        Some((_, path)) => (*path).to_owned(),
        None => {
            let toolkit = Toolkit::locate_or_install().unwrap();
            toolkit.nvrtc_library().display().to_string()
        }
    };
    let cache = himuon_toolkit::target_folder().join("cuda-test-cache");
    let cache = cache.display().to_string();
    let mut environment = vec![
        (NVRTC, nvrtc.as_str()),
        ("HIMUON_CACHE_DIR", cache.as_str()),
        ("HIMUON_DETERMINISTIC", "1"),
        ("HIMUON_EMULATOR_DEVICES", "sm_80;sm_80"),
    ];
    environment.extend(more);
    if let Isolated::Parent { output } = isolated(test, &environment, body).unwrap() {
        let measured = output.lines().filter(|line| line.contains("measured: "));
        measured.for_each(|line| println!("{line}"));
    }
}

#[test]
fn without_a_driver_a_build_says_what_was_looked_for() {
    let mut optimizer = null_mut();
    // SAFETY: what the function asks for.
    let status = unsafe { himuon_build_cuda(declared(), 0, null_mut(), &mut optimizer) };
    if status == Status::Ok {
        println!("SKIPPED: this machine has a CUDA driver");
        // SAFETY: just built.
        unsafe { himuon_free(optimizer) };
        return;
    }
    assert_eq!(status, Status::Refused);
    let said = said();
    match cuda::devices() {
        Err(CudaError::NoDriver { .. }) => {
            assert!(
                said.contains("no CUDA driver") && said.contains("libcuda.so"),
                "{said}"
            );
        }
        found => println!("SKIPPED: this machine has a CUDA driver ({found:?})"),
    }
}
