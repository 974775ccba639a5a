//! The library exports what cudarc looks up, and shadows nothing.
#![allow(unsafe_code, clippy::unwrap_used)]

use std::ffi::{CString, c_int, c_void};

use cudarc::driver::sys;
use himuon_toolkit::emulated::EmulatedDriver;
use libloading::Library;

/// Every function that the safe interface of cudarc 0.19 with the bindings of CUDA 13.0 may call, those for external
/// memory, managed memory, clusters and profiling aside.
const NEEDED: &[&str] = &[
    "cuInit",
    "cuDriverGetVersion",
    "cuGetErrorName",
    "cuGetErrorString",
    "cuGetExportTable",
    "cuGetProcAddress_v2",
    "cuDeviceGet",
    "cuDeviceGetCount",
    "cuDeviceGetName",
    "cuDeviceGetAttribute",
    "cuDeviceTotalMem_v2",
    "cuDeviceGetUuid_v2",
    "cuDeviceGetDefaultMemPool",
    "cuDeviceGetMemPool",
    "cuDeviceSetMemPool",
    "cuDevicePrimaryCtxRetain",
    "cuDevicePrimaryCtxRelease_v2",
    "cuCtxCreate_v4",
    "cuCtxDestroy_v2",
    "cuCtxGetCurrent",
    "cuCtxSetCurrent",
    "cuCtxSynchronize",
    "cuCtxSetFlags",
    "cuCtxGetLimit",
    "cuCtxSetLimit",
    "cuCtxGetCacheConfig",
    "cuCtxSetCacheConfig",
    "cuCtxGetStreamPriorityRange",
    "cuModuleLoad",
    "cuModuleLoadData",
    "cuModuleGetFunction",
    "cuModuleGetGlobal_v2",
    "cuModuleUnload",
    "cuFuncGetAttribute",
    "cuFuncSetAttribute",
    "cuFuncSetCacheConfig",
    "cuOccupancyMaxActiveBlocksPerMultiprocessor",
    "cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags",
    "cuOccupancyMaxPotentialBlockSize",
    "cuOccupancyMaxPotentialBlockSizeWithFlags",
    "cuOccupancyAvailableDynamicSMemPerBlock",
    "cuMemAlloc_v2",
    "cuMemAllocAsync",
    "cuMemAllocFromPoolAsync",
    "cuMemFree_v2",
    "cuMemFreeAsync",
    "cuMemGetInfo_v2",
    "cuMemHostAlloc",
    "cuMemFreeHost",
    "cuMemAllocManaged",
    "cuMemPoolCreate",
    "cuMemPoolDestroy",
    "cuMemPoolGetAttribute",
    "cuMemPoolSetAttribute",
    "cuMemPoolTrimTo",
    "cuMemcpyHtoD_v2",
    "cuMemcpyHtoDAsync_v2",
    "cuMemcpyDtoH_v2",
    "cuMemcpyDtoHAsync_v2",
    "cuMemcpyDtoD_v2",
    "cuMemcpyDtoDAsync_v2",
    "cuMemcpy2DAsync_v2",
    "cuMemcpyPeerAsync",
    "cuMemsetD8_v2",
    "cuMemsetD8Async",
    "cuStreamCreate",
    "cuStreamCreateWithPriority",
    "cuStreamDestroy_v2",
    "cuStreamSynchronize",
    "cuStreamWaitEvent",
    "cuStreamAttachMemAsync",
    "cuStreamBeginCapture_v2",
    "cuStreamEndCapture",
    "cuStreamIsCapturing",
    "cuLaunchHostFunc",
    "cuEventCreate",
    "cuEventDestroy_v2",
    "cuEventRecord",
    "cuEventQuery",
    "cuEventSynchronize",
    "cuEventElapsedTime",
    "cuEventElapsedTime_v2",
    "cuLaunchKernel",
    "cuLaunchKernelEx",
    "cuLaunchCooperativeKernel",
    "cuGraphInstantiateWithFlags",
    "cuGraphLaunch",
    "cuGraphUpload",
    "cuGraphDestroy",
    "cuGraphExecDestroy",
];

#[test]
fn every_needed_function_is_exported_and_found_by_name() {
    let driver = EmulatedDriver::build().unwrap();
    driver.load().unwrap();
    // SAFETY: the emulated driver, which is loaded already.
    let library = unsafe { Library::new(driver.folder().join("libcuda.so.1")) }.unwrap();
    for name in NEEDED {
        // SAFETY: only the address is looked at.
        let exported = unsafe { library.get::<*const c_void>(name.as_bytes()) };
        assert!(exported.is_ok(), "{name} is not exported");
        assert!(
            !proc_address(name).is_null(),
            "cuGetProcAddress does not know {name}"
        );
    }
}

fn proc_address(name: &str) -> *mut c_void {
    let symbol = CString::new(name).unwrap();
    let (mut address, mut status) = (
        std::ptr::null_mut(),
        sys::CUdriverProcAddressQueryResult::CU_GET_PROC_ADDRESS_SUCCESS,
    );
    // SAFETY: the text is NUL-terminated and both results are of this frame.
    unsafe { sys::cuGetProcAddress_v2(symbol.as_ptr(), &mut address, 13_000, 0, &mut status) };
    address
}

/// The search of a name without version ends at the newest function.
#[test]
fn a_name_without_version_is_found() {
    EmulatedDriver::build().unwrap().load().unwrap();
    assert_eq!(proc_address("cuMemAlloc"), proc_address("cuMemAlloc_v2"));
    assert!(proc_address("cuMemAlloc_v9").is_null());
}

/// What NVRTC asks a driver for: a table that the emulator has not. It must be told so, or it jumps to null.
#[test]
fn private_tables_are_refused_and_nulled() {
    type GetExportTable = unsafe extern "C" fn(*mut *const c_void, *const c_void) -> c_int;
    let driver = EmulatedDriver::build().unwrap();
    // SAFETY: the emulated driver; the function has this type in `cuda.h`, and both pointers are of this frame.
    unsafe {
        let library = Library::new(driver.folder().join("libcuda.so.1")).unwrap();
        let get = library.get::<GetExportTable>(b"cuGetExportTable").unwrap();
        let (mut table, id) = (std::ptr::dangling(), [0_u8; 16]);
        assert_ne!(get(&mut table, id.as_ptr().cast()), 0);
        assert!(table.is_null());
    }
}

/// cargo puts its `deps` folder on the loader's path of every test: nothing there may be called libcuda.
#[test]
fn only_the_private_folder_has_the_name_of_a_driver() {
    let driver = EmulatedDriver::build().unwrap();
    let deps = std::env::current_exe()
        .unwrap()
        .parent()
        .unwrap()
        .to_owned();
    for folder in [deps.clone(), deps.join("..")] {
        for name in ["libcuda.so", "libcuda.so.1"] {
            assert!(
                !folder.join(name).exists(),
                "{}",
                folder.join(name).display()
            );
        }
    }
    let mut names: Vec<_> = std::fs::read_dir(driver.folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["libcuda.so", "libcuda.so.1"]);
}
