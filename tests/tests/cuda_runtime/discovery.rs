//! Devices that are there, and everything that may be missing.

use std::process::Command;

use himuon::cuda::{self, CudaError, CurrentContext, DeviceRef, check_address};

use crate::emulator::emulated;

const CHILD: &str = "HIMUON_TEST_WITHOUT_DRIVER";

#[test]
fn without_a_driver_an_error_says_what_was_looked_for() {
    let test = "discovery::without_a_driver_an_error_says_what_was_looked_for";
    if std::env::var_os(CHILD).is_none() {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .env(CHILD, "1")
            .env_remove("LD_LIBRARY_PATH")
            .output()
            .unwrap();
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{printed}");
        if printed.contains("SKIPPED") {
            println!("{printed}");
        }
        return;
    }
    match cuda::devices() {
        Err(error @ CudaError::NoDriver { .. }) => {
            let text = error.to_string();
            assert!(
                text.contains("libcuda.so") && text.contains("LD_LIBRARY_PATH"),
                "{text}"
            );
            assert!(matches!(cuda::open(0), Err(CudaError::NoDriver { .. })));
        }
        found => println!("SKIPPED: this machine has a CUDA driver ({found:?})"),
    }
}

#[test]
fn devices_are_described() {
    let test = "discovery::devices_are_described";
    let devices = [("HIMUON_EMULATOR_DEVICES", "sm_80,memory=64MiB,sms=4;sm_90")];
    emulated(test, &devices, || {
        let found = cuda::devices().unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].capability, (8, 0));
        assert_eq!(
            (found[0].multiprocessors, found[0].memory_bytes),
            (4, 64 << 20)
        );
        assert_eq!(found[1].target(), "sm_90a");
        let error = cuda::open(2).unwrap_err().to_string();
        assert!(error.contains("no CUDA device 2: 2 found"), "{error}");
    });
}

const EXPECTED: &str = "HIMUON_TEST_TOOLKIT";

#[test]
fn a_fingerprint_names_the_compiler_that_kernels_come_from() {
    let test = "discovery::a_fingerprint_names_the_compiler_that_kernels_come_from";
    let folder = tempfile::tempdir().unwrap();
    let kernel = folder.path().join("modules/a-kernel");
    std::fs::create_dir_all(&kernel).unwrap();
    let cache = ("HIMUON_CACHE_DIR", folder.path().to_str().unwrap());
    let nowhere = ("HIMUON_NVRTC_PATH", "/nonexistent/libnvrtc.so");
    let body = || {
        let expected = std::env::var(EXPECTED).unwrap();
        let toolkit = cuda::devices().unwrap()[0].fingerprint().toolkit;
        match expected.as_str() {
            "compiler" => {
                let (major, minor) = toolkit.split_once('.').unwrap();
                assert!(major.parse::<u32>().unwrap() >= 12, "{toolkit}");
                assert!(minor.parse::<u32>().is_ok(), "{toolkit}");
                assert_ne!(toolkit, "12.10");
            }
            expected => assert_eq!(toolkit, expected),
        }
    };
    let child = std::env::var_os("HIMUON_ISOLATED_TEST").is_some();
    emulated(test, &[cache, (EXPECTED, "compiler")], body);
    if child {
        return;
    }
    // Neither a cache nor a compiler, then what the cache was filled by.
    emulated(test, &[cache, nowhere, (EXPECTED, "")], body);
    for name in ["sm_80-nvrtc12.9", "sm_80-step-nvrtc12.10"] {
        std::fs::write(kernel.join(format!("{name}.ptx")), "").unwrap();
    }
    emulated(test, &[cache, nowhere, (EXPECTED, "12.10")], body);
    // The one at hand makes its kernels anew.
    emulated(test, &[cache, (EXPECTED, "compiler")], body);
}

#[test]
fn a_driver_that_is_too_old_is_named() {
    let test = "discovery::a_driver_that_is_too_old_is_named";
    emulated(test, &[("HIMUON_EMULATOR_DRIVER_VERSION", "11.8")], || {
        let error = cuda::devices().unwrap_err().to_string();
        assert!(error.contains("version 11.8, expected 12.0"), "{error}");
    });
}

#[test]
fn a_driver_without_a_device_is_an_error() {
    let test = "discovery::a_driver_without_a_device_is_an_error";
    emulated(test, &[("HIMUON_EMULATOR_DEVICES", "none")], || {
        let error = cuda::devices().unwrap_err();
        assert!(matches!(error, CudaError::NoDevice { .. }), "{error}");
    });
}

/// As a program of CUDA's runtime takes its thread's device from what is current.
#[test]
fn what_is_current_for_the_caller_stays_so() {
    let test = "discovery::what_is_current_for_the_caller_stays_so";
    let devices = [("HIMUON_EMULATOR_DEVICES", "sm_80;sm_80")];
    emulated(test, &devices, || {
        let callers = cuda::open(0).unwrap();
        let is_current = || {
            let current = cudarc::driver::result::ctx::get_current().unwrap();
            current == Some(callers.cu_ctx())
        };
        assert!(is_current());
        {
            let _current = CurrentContext::keep().unwrap();
            let stream = cuda::open(1).unwrap().default_stream();
            drop(stream.alloc_zeros::<f32>(4).unwrap());
            assert!(!is_current());
        }
        assert!(is_current());
    });
}

/// For bindings, which get bare addresses: a kernel's fault would take the device from the process.
#[test]
fn an_address_of_another_memory_is_told_from_the_device_s() {
    let test = "discovery::an_address_of_another_memory_is_told_from_the_device_s";
    let devices = [("HIMUON_EMULATOR_DEVICES", "sm_80;sm_80")];
    emulated(test, &devices, || {
        let [first, second] = [0, 1].map(|ordinal| cuda::open(ordinal).unwrap());
        let stream = first.default_stream();
        let numbers = stream.alloc_zeros::<f32>(4).unwrap();
        let address = DeviceRef::of(&numbers, &stream).address();
        check_address(&first, address).unwrap();
        check_address(&first, address + 12).unwrap();
        let of_process = std::ptr::from_ref(&test) as u64;
        for (context, address, reason) in [
            (&second, address, "is in the memory of CUDA device 0"),
            (&first, of_process, "is no memory that CUDA knows"),
        ] {
            let error = check_address(context, address).unwrap_err();
            assert!(matches!(error, CudaError::Elsewhere { .. }), "{error}");
            assert!(error.to_string().contains(reason), "{error}");
        }
    });
}
