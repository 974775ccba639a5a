//! Handles that stand for nothing: null, destroyed, of another kind, or an address of the host. Each is an error code.
#![allow(unsafe_code, clippy::unwrap_used)]

use std::ffi::c_void;
use std::ptr;

use cudarc::driver::sys::{self, CUresult};
use cudarc::driver::{CudaContext, result};
use himuon_toolkit::emulated::EmulatedDriver;

const INVALID_HANDLE: CUresult = CUresult::CUDA_ERROR_INVALID_HANDLE;

#[test]
fn a_destroyed_handle_is_refused() {
    EmulatedDriver::build().unwrap().load().unwrap();
    let _context = CudaContext::new(0).unwrap();
    // SAFETY: that the driver refuses what was destroyed, without touching memory, is what is tested.
    unsafe {
        let stream = result::stream::create(result::stream::StreamKind::NonBlocking).unwrap();
        result::stream::destroy(stream).unwrap();
        assert_eq!(sys::cuStreamSynchronize(stream), INVALID_HANDLE);
        assert_eq!(sys::cuStreamDestroy_v2(stream), INVALID_HANDLE);
        let event = result::event::create(sys::CUevent_flags::CU_EVENT_DEFAULT).unwrap();
        result::event::destroy(event).unwrap();
        assert_eq!(sys::cuEventRecord(event, ptr::null_mut()), INVALID_HANDLE);
        assert_eq!(sys::cuEventSynchronize(event), INVALID_HANDLE);
    }
}

#[test]
fn a_foreign_pointer_is_refused_as_any_kind_of_handle() {
    EmulatedDriver::build().unwrap().load().unwrap();
    let _context = CudaContext::new(0).unwrap();
    let of_the_host = Box::into_raw(Box::new([0_u64; 64]));
    // SAFETY: that the driver refuses foreign handles, without touching memory, is what is tested.
    unsafe {
        // A live handle of one kind is no handle of another.
        let event = result::event::create(sys::CUevent_flags::CU_EVENT_DEFAULT).unwrap();
        for foreign in [
            of_the_host.cast::<c_void>(),
            event.cast(),
            ptr::dangling_mut(),
            usize::MAX as *mut _,
        ] {
            let stream = foreign.cast();
            // 1 and 2 are the names of the default streams.
            if foreign.addr() > 2 {
                assert_eq!(
                    sys::cuStreamSynchronize(stream),
                    INVALID_HANDLE,
                    "{foreign:?}"
                );
                assert_eq!(sys::cuGraphLaunch(foreign.cast(), stream), INVALID_HANDLE);
            }
            assert_eq!(sys::cuModuleUnload(foreign.cast()), INVALID_HANDLE);
            assert_eq!(sys::cuGraphDestroy(foreign.cast()), INVALID_HANDLE);
            assert_eq!(sys::cuGraphExecDestroy(foreign.cast()), INVALID_HANDLE);
            assert_eq!(sys::cuMemPoolDestroy(foreign.cast()), INVALID_HANDLE);
            let mut value = 0;
            let registers = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_NUM_REGS;
            assert_eq!(
                sys::cuFuncGetAttribute(&mut value, registers, foreign.cast()),
                INVALID_HANDLE
            );
            let none = ptr::null_mut();
            let launch = sys::cuLaunchKernel(
                foreign.cast(),
                1,
                1,
                1,
                1,
                1,
                1,
                0,
                none,
                ptr::null_mut(),
                ptr::null_mut(),
            );
            assert_eq!(launch, INVALID_HANDLE);
            assert_eq!(
                sys::cuCtxSetCurrent(foreign.cast()),
                CUresult::CUDA_ERROR_INVALID_CONTEXT
            );
        }
        result::event::destroy(event).unwrap();
        drop(Box::from_raw(of_the_host));
    }
}

#[test]
fn a_result_without_a_place_to_go_is_refused() {
    EmulatedDriver::build().unwrap().load().unwrap();
    let _context = CudaContext::new(0).unwrap();
    // SAFETY: that the driver refuses null is what is tested.
    unsafe {
        assert_eq!(
            sys::cuDeviceGetCount(ptr::null_mut()),
            CUresult::CUDA_ERROR_INVALID_VALUE
        );
        assert_eq!(
            sys::cuStreamCreate(ptr::null_mut(), 0),
            CUresult::CUDA_ERROR_INVALID_VALUE
        );
        assert_eq!(
            sys::cuModuleLoadData(ptr::null_mut(), ptr::null()),
            CUresult::CUDA_ERROR_INVALID_VALUE
        );
        assert_eq!(
            sys::cuMemAlloc_v2(ptr::null_mut(), 16),
            CUresult::CUDA_ERROR_INVALID_VALUE
        );
    }
}

#[test]
fn a_thread_without_a_context_is_told() {
    EmulatedDriver::build().unwrap().load().unwrap();
    let _context = CudaContext::new(0).unwrap();
    std::thread::spawn(|| {
        let mut address = 0;
        // SAFETY: the pointer is to an integer of this frame.
        let status = unsafe { sys::cuMemAlloc_v2(&mut address, 16) };
        assert_eq!(status, CUresult::CUDA_ERROR_INVALID_CONTEXT);
    })
    .join()
    .unwrap();
}

/// The last release of a context and the next retain of another thread meet: each thread has a context for as long as it
/// holds one, whoever else lets go of theirs.
#[test]
fn a_context_that_is_held_does_not_end() {
    EmulatedDriver::build().unwrap().load().unwrap();
    let hold_and_let_go = || {
        for _ in 0..2000 {
            let context = CudaContext::new(0).unwrap();
            context.synchronize().unwrap();
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(hold_and_let_go);
        }
    });
}
