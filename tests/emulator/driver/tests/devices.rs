//! Devices: how they present themselves, several at once, and none.
#![allow(unsafe_code, clippy::unwrap_used)]

use cudarc::driver::sys::{CUdevice_attribute as Attribute, CUresult, cuDriverGetVersion};
use cudarc::driver::{CudaContext, DriverError};
use himuon_toolkit::emulated::{EmulatedDriver, isolated};

#[test]
fn the_default_device_is_an_emulated_a100() {
    EmulatedDriver::build().unwrap().load().unwrap();
    let context = CudaContext::new(0).unwrap();
    let name = context.name().unwrap();
    assert!(name.contains("emulator"), "{name}");
    assert_eq!(context.compute_capability().unwrap(), (8, 0));
    let attribute = |attribute| context.attribute(attribute).unwrap();
    assert_eq!(
        attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT),
        108
    );
    assert_eq!(attribute(Attribute::CU_DEVICE_ATTRIBUTE_WARP_SIZE), 32);
    assert_eq!(
        attribute(Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN),
        163 << 10
    );
    assert_eq!(
        attribute(Attribute::CU_DEVICE_ATTRIBUTE_CLOCK_RATE),
        0,
        "an emulator has no clock"
    );
    let uuid = context.uuid().unwrap().bytes.map(|byte| byte as u8);
    assert!(uuid.starts_with(b"himuon-emulator"));
}

#[test]
fn an_ordinal_past_the_last_device_is_refused() {
    EmulatedDriver::build().unwrap().load().unwrap();
    let count = CudaContext::device_count().unwrap() as usize;
    assert_eq!(
        CudaContext::new(count).unwrap_err(),
        DriverError(CUresult::CUDA_ERROR_INVALID_DEVICE)
    );
}

#[test]
fn devices_have_separate_memory_and_copies_go_between_them() {
    let devices = [(
        "HIMUON_EMULATOR_DEVICES",
        "sm_80,memory=1MiB;sm_90a,memory=2MiB,sms=4",
    )];
    isolated(
        "devices_have_separate_memory_and_copies_go_between_them",
        &devices,
        || {
            assert_eq!(CudaContext::device_count(), Ok(2));
            let [a100, h100] = [0, 1].map(|ordinal| CudaContext::new(ordinal).unwrap());
            assert_eq!(h100.compute_capability().unwrap(), (9, 0));
            assert_ne!(a100.uuid().unwrap().bytes, h100.uuid().unwrap().bytes);
            assert_eq!(a100.total_mem().unwrap(), 1 << 20);
            assert_eq!(h100.total_mem().unwrap(), 2 << 20);

            // Streams of their own: null names the default stream of whichever context is current, and cudarc makes
            // the source's context current on the way to the copy.
            let [from, to] = [&a100, &h100].map(|context| context.new_stream().unwrap());
            let numbers: Vec<u32> = (0..1000).collect();
            let here = from.clone_htod(&numbers).unwrap();
            let there = to.clone_dtod(&here).unwrap();
            assert!(to.clone_dtoh(&there).unwrap() == numbers);
            assert_eq!(h100.mem_get_info().unwrap(), ((2 << 20) - 4096, 2 << 20));
        },
    )
    .unwrap();
}

#[test]
fn without_devices_initialisation_says_so() {
    let none = [("HIMUON_EMULATOR_DEVICES", "none")];
    isolated("without_devices_initialisation_says_so", &none, || {
        let error = CudaContext::new(0).unwrap_err();
        assert_eq!(error, DriverError(CUresult::CUDA_ERROR_NO_DEVICE));
    })
    .unwrap();
}

#[test]
fn an_old_driver_can_be_played() {
    let version = [("HIMUON_EMULATOR_DRIVER_VERSION", "12.4")];
    isolated("an_old_driver_can_be_played", &version, || {
        let mut version = 0;
        // SAFETY: the pointer is to an integer of this frame.
        let status = unsafe { cuDriverGetVersion(&mut version) };
        assert_eq!((status, version), (CUresult::CUDA_SUCCESS, 12_040));
    })
    .unwrap();
}

#[test]
fn a_setting_that_is_not_understood_is_named() {
    let wrong = [("HIMUON_EMULATOR_DEVICES", "sm_35")];
    let test = "a_setting_that_is_not_understood_is_named";
    let outcome = isolated(test, &wrong, || {
        let error = CudaContext::new(0).unwrap_err();
        assert_eq!(error, DriverError(CUresult::CUDA_ERROR_INVALID_VALUE));
    });
    if let himuon_toolkit::emulated::Isolated::Parent { output } = outcome.unwrap() {
        assert!(
            output.contains("HIMUON_EMULATOR_DEVICES: `sm_35` is not understood"),
            "{output}"
        );
    }
}
