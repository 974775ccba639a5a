//! Steps of a device beside those of the CPU.

use std::ffi::{CStr, CString};
use std::ptr::null_mut;

use cudarc::driver::result;
use himuon_c::*;

use crate::caller::Caller;
use crate::{declared, emulated, gradients, said, tensor, weights};

fn on_host(numbers: &mut [Vec<f32>]) -> Vec<Tensor> {
    let numbers = numbers.iter_mut();
    numbers
        .map(|n| tensor(n.as_mut_ptr().cast(), n.len()))
        .collect()
}

pub(crate) fn built_on_cpu() -> *mut Optimizer {
    let mut optimizer = null_mut();
    // SAFETY: what the function asks for.
    let status = unsafe { himuon_build(declared(), &mut optimizer) };
    assert_eq!(status, Status::Ok, "{}", said());
    optimizer
}

pub(crate) fn step_on_cpu(
    optimizer: *mut Optimizer,
    weights: &mut [Vec<f32>],
    mut gradients: Vec<Vec<f32>>,
) {
    let (weights, gradients) = (on_host(weights), on_host(&mut gradients));
    let mut report = Report::default();
    // SAFETY: the tensors are there and apart.
    let status = unsafe {
        himuon_step(
            optimizer,
            weights.as_ptr(),
            gradients.as_ptr(),
            2,
            &mut report,
        )
    };
    assert_eq!(status, Status::Ok, "{}", said());
    assert!(!report.counts_pending);
}

/// Relative Frobenius gap of an update, the worse of the two parameters: weights and gradients between -1/2 and 1/2, 36 x 20
/// in tiles of 16, up to three steps at rate 0.02. Measured: 3.4e-6 for the matrix, 0 for the vector.
const GAP: f64 = 1e-5;

pub(crate) fn assert_close(
    what: &str,
    start: &[Vec<f32>],
    found: &[Vec<f32>],
    expected: &[Vec<f32>],
) {
    let distance = |a: &[f32], b: &[f32]| {
        let squares = a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2));
        squares.sum::<f64>().sqrt()
    };
    let gaps = (0..2)
        .map(|i| distance(&found[i], &expected[i]) / distance(&expected[i], &start[i]))
        .collect::<Vec<_>>();
    println!("measured: {what}: gaps {:.1e} and {:.1e}", gaps[0], gaps[1]);
    assert!(gaps.iter().all(|gap| *gap < GAP), "{what}: {gaps:?}");
}

fn save(optimizer: *mut Optimizer, path: &CStr) {
    // SAFETY: both are there.
    let status = unsafe { himuon_save_state(optimizer, path.as_ptr()) };
    assert_eq!(status, Status::Ok, "{}", said());
}

fn load(optimizer: *mut Optimizer, path: &CStr) {
    // SAFETY: both are there.
    let status = unsafe { himuon_load_state(optimizer, path.as_ptr(), null_mut()) };
    assert_eq!(status, Status::Ok, "{}", said());
}

/// The state of one to the other, by way of memory.
fn hand_over(from: *mut Optimizer, to: *mut Optimizer) {
    let (mut bytes, mut len) = (null_mut(), 0);
    // SAFETY: the optimizers are there, and the state until it is freed.
    unsafe {
        let saved = himuon_save_state_to_bytes(from, &mut bytes, &mut len);
        assert_eq!(saved, Status::Ok, "{}", said());
        let loaded = himuon_load_state_from_bytes(to, bytes, len, null_mut());
        assert_eq!(loaded, Status::Ok, "{}", said());
        himuon_bytes_free(bytes, len);
    }
}

#[test]
fn a_device_takes_the_steps_of_the_cpu_on_the_caller_s_stream() {
    let test = "steps::a_device_takes_the_steps_of_the_cpu_on_the_caller_s_stream";
    emulated(test, &[], || {
        let start = weights();
        let (mut host, mut device) = (start.clone(), Caller::new(&start));
        let (on_cpu, on_device) = (built_on_cpu(), device.build());
        let mut report = Report::default();
        for step in 0..3 {
            step_on_cpu(on_cpu, &mut host, gradients(step));
            report = device.step(on_device, &gradients(step));
            assert_close(&format!("step {step}"), &start, &device.read(), &host);
        }
        assert_eq!((report.step, report.launches, report.tiles), (2, 2, 6));
        assert!(report.counts_pending);
        explains_and_changes_options(&device, on_cpu, on_device);
        each_goes_on_from_the_other(&mut device, &mut host, on_cpu, on_device);
        one_bad_number_leaves_its_tile_or_itself_alone(&mut device, on_device);
        nothing_current_stays_so(on_device);
        device.free(on_device);
        // SAFETY: built above, and used no more.
        unsafe { himuon_free(on_cpu) };
        the_default_stream_gives_the_same_bits(&start);
    });
}

fn explains_and_changes_options(
    device: &Caller,
    on_cpu: *mut Optimizer,
    on_device: *mut Optimizer,
) {
    // SAFETY: the optimizers and the texts are there.
    unsafe {
        assert_eq!(himuon_steps_taken(on_device), 3);
        for optimizer in [on_cpu, on_device] {
            device.call(|| change_options(optimizer));
        }
        let mut text = null_mut();
        let explained = device.call(|| himuon_explain(on_device, &mut text));
        assert_eq!(explained, Status::Ok, "{}", said());
        let lines = CStr::from_ptr(text).to_str().unwrap().to_owned();
        himuon_text_free(text);
        assert!(lines.contains("layer.weight"), "{lines}");
    }
}

/// Options are no part of a state.
fn change_options(optimizer: *mut Optimizer) {
    // SAFETY: the optimizer and the texts are there.
    unsafe {
        let changed = himuon_set_momentum(optimizer, c"layer.*".as_ptr(), 0.8);
        assert_eq!(changed, Status::Ok, "{}", said());
        let changed = himuon_set_betas(optimizer, c"*.bias".as_ptr(), 0.9, 0.99);
        assert_eq!(changed, Status::Ok, "{}", said());
    }
}

/// Each saves its state, and another of the other place goes on from it.
fn each_goes_on_from_the_other(
    device: &mut Caller,
    host: &mut [Vec<f32>],
    on_cpu: *mut Optimizer,
    on_device: *mut Optimizer,
) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let path = CString::new(path.to_str().unwrap()).unwrap();
    save(on_cpu, &path);
    let resumed_on_cpu = built_on_cpu();
    device.call(|| hand_over(on_device, resumed_on_cpu));
    let before = device.read();
    let mut moved = before.clone();
    device.step(on_device, &gradients(3));
    change_options(resumed_on_cpu);
    step_on_cpu(resumed_on_cpu, &mut moved, gradients(3));
    assert_close("resumed on the CPU", &before, &device.read(), &moved);

    let mut other = Caller::new(host);
    let resumed_on_device = other.build();
    other.call(|| load(resumed_on_device, &path));
    change_options(resumed_on_device);
    let before = host.to_vec();
    step_on_cpu(on_cpu, host, gradients(3));
    other.step(resumed_on_device, &gradients(3));
    assert_close("resumed on the device", &before, &other.read(), host);
    // SAFETY: built above, and used no more.
    unsafe { himuon_free(resumed_on_cpu) };
    other.free(resumed_on_device);
}

fn one_bad_number_leaves_its_tile_or_itself_alone(device: &mut Caller, on_device: *mut Optimizer) {
    assert_eq!(device.counts(on_device), Counts::default());
    let mut poisoned = gradients(4);
    poisoned[0][0] = f32::NAN;
    poisoned[1][5] = f32::INFINITY;
    let before = device.read();
    let report = device.step(on_device, &poisoned);
    assert!(report.counts_pending && report.non_finite_tiles == 0);
    let counts = device.counts(on_device);
    assert_eq!((counts.non_finite_tiles, counts.non_finite_numbers), (1, 1));
    let after = device.read();
    assert!(after[0][..16] == before[0][..16] && after[0][16] != before[0][16]);
    assert!(after[1][5] == before[1][5] && after[1][4] != before[1][4]);
}

/// A stream is the caller's: it is there when the optimizer is gone.
fn the_default_stream_gives_the_same_bits(start: &[Vec<f32>]) {
    let mut on_default = Caller::on_default_stream(start);
    let mut on_another = Caller::new(start);
    for caller in [&mut on_default, &mut on_another] {
        let optimizer = caller.build();
        caller.step(optimizer, &gradients(0));
        caller.free(optimizer);
    }
    assert!(on_default.read() == on_another.read());
}

/// As in a thread that has asked nothing of CUDA yet.
fn nothing_current_stays_so(on_device: *mut Optimizer) {
    let mut counts = Counts::default();
    // SAFETY: no context, which is always one that may be current; the optimizer is there.
    unsafe {
        result::ctx::set_current(null_mut()).unwrap();
        let counted = himuon_tile_counts(on_device, &mut counts);
        assert_eq!(counted, Status::Ok, "{}", said());
    }
    assert_eq!(result::ctx::get_current().unwrap(), None);
}
