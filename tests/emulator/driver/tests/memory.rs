//! Device memory: contents, accounts, running out, and pointers that lead nowhere.
#![allow(unsafe_code, clippy::unwrap_used)]

use cudarc::driver::sys::{
    CUDA_MEMCPY2D, CUmemorytype, CUresult, cuMemFree_v2, cuMemcpy2DAsync_v2, cuMemcpyDtoD_v2,
    cuMemcpyHtoD_v2,
};
use cudarc::driver::{CudaContext, CudaSlice, DevicePtr, DriverError, result};
use himuon_toolkit::emulated::{EmulatedDriver, Inspection, isolated};

const OUT_OF_MEMORY: DriverError = DriverError(CUresult::CUDA_ERROR_OUT_OF_MEMORY);
const INVALID_VALUE: DriverError = DriverError(CUresult::CUDA_ERROR_INVALID_VALUE);

#[test]
fn copies_and_fills_keep_every_byte() {
    EmulatedDriver::build().unwrap().load().unwrap();
    let context = CudaContext::new(0).unwrap();
    let stream = context.default_stream();
    // An odd length, so that no copy is a whole number of words.
    let bytes: Vec<u8> = (0..1021).map(|index| (index * 7 % 251) as u8).collect();
    let first = stream.clone_htod(&bytes).unwrap();
    let second = stream.clone_dtod(&first).unwrap();
    assert_eq!(stream.clone_dtoh(&second).unwrap(), bytes);
    let part = second.slice(3..10);
    assert_eq!(stream.clone_dtoh(&part).unwrap(), bytes[3..10]);
    let zeros: CudaSlice<f64> = stream.alloc_zeros(33).unwrap();
    assert_eq!(stream.clone_dtoh(&zeros).unwrap(), [0.0; 33]);
}

#[test]
fn memory_runs_out_and_comes_back() {
    let small = [("HIMUON_EMULATOR_DEVICES", "sm_80,memory=1MiB")];
    isolated("memory_runs_out_and_comes_back", &small, || {
        let context = CudaContext::new(0).unwrap();
        let stream = context.new_stream().unwrap();
        let half: CudaSlice<u8> = stream.alloc_zeros(512 << 10).unwrap();
        let refused = stream.alloc_zeros::<u8>((512 << 10) + 1).unwrap_err();
        assert_eq!(refused, OUT_OF_MEMORY);
        let other_half: CudaSlice<u8> = stream.alloc_zeros(512 << 10).unwrap();
        assert_eq!(context.mem_get_info().unwrap(), (0, 1 << 20));
        drop(half);
        // The free is queued; the allocation makes it happen.
        let again: CudaSlice<u8> = stream.alloc_zeros(512 << 10).unwrap();
        assert_eq!(stream.clone_dtoh(&again).unwrap(), vec![0; 512 << 10]);
        drop((again, other_half));
        context.synchronize().unwrap();
        assert_eq!(context.mem_get_info().unwrap(), (1 << 20, 1 << 20));
        let message = Inspection::open().unwrap().last_message().unwrap();
        assert!(
            message.contains("524289 bytes asked for, 524288 of 1048576 left"),
            "{message}"
        );
    })
    .unwrap();
}

/// As the stream-ordered allocator of hardware does, and in contrast to freeing late: the peak is that of one round.
#[test]
fn a_stream_reuses_what_it_has_freed() {
    isolated("a_stream_reuses_what_it_has_freed", &[], || {
        let context = CudaContext::new(0).unwrap();
        let stream = context.new_stream().unwrap();
        for _ in 0..100 {
            let block: CudaSlice<u8> = stream.alloc_zeros(1 << 20).unwrap();
            drop(block);
        }
        let memory = Inspection::open().unwrap().memory(0).unwrap();
        assert_eq!(memory.peak_bytes, 1 << 20);
    })
    .unwrap();
}

#[test]
fn pointers_that_lead_nowhere_are_refused() {
    EmulatedDriver::build().unwrap().load().unwrap();
    let context = CudaContext::new(0).unwrap();
    context.bind_to_thread().unwrap();
    let bytes = [1_u8; 16];
    // SAFETY: the allocation is freed once with success; every other address is what the driver is to refuse.
    unsafe {
        let block = result::malloc_sync(16).unwrap();
        let host = bytes.as_ptr().cast();
        for foreign in [0, 0x1000, bytes.as_ptr() as u64, block + 1, u64::MAX] {
            assert_eq!(
                cuMemcpyHtoD_v2(foreign, host, 16).result(),
                Err(INVALID_VALUE),
                "{foreign:#x}"
            );
            assert_eq!(
                cuMemcpyDtoD_v2(block, foreign, 16).result(),
                Err(INVALID_VALUE)
            );
        }
        for foreign in [0x1000, bytes.as_ptr() as u64, block + 1] {
            assert_eq!(cuMemFree_v2(foreign).result(), Err(INVALID_VALUE));
        }
        assert_eq!(cuMemFree_v2(0).result(), Ok(()), "freeing null is no error");
        assert_eq!(cuMemFree_v2(block).result(), Ok(()));
        assert_eq!(
            cuMemFree_v2(block).result(),
            Err(INVALID_VALUE),
            "freed twice"
        );
        assert_eq!(
            cuMemcpyHtoD_v2(block, host, 16).result(),
            Err(INVALID_VALUE),
            "freed"
        );
    }
}

/// A copy of `height` rows of `width` bytes between device memory.
fn rows(from: (u64, usize), to: (u64, usize), width: usize, height: usize) -> CUDA_MEMCPY2D {
    CUDA_MEMCPY2D {
        srcXInBytes: 0,
        srcY: 0,
        srcMemoryType: CUmemorytype::CU_MEMORYTYPE_DEVICE,
        srcHost: std::ptr::null(),
        srcDevice: from.0,
        srcArray: std::ptr::null_mut(),
        srcPitch: from.1,
        dstXInBytes: 0,
        dstY: 0,
        dstMemoryType: CUmemorytype::CU_MEMORYTYPE_DEVICE,
        dstHost: std::ptr::null_mut(),
        dstDevice: to.0,
        dstArray: std::ptr::null_mut(),
        dstPitch: to.1,
        WidthInBytes: width,
        Height: height,
    }
}

#[test]
fn rows_are_copied_in_one_call_and_stay_inside_their_allocations() {
    // In a process of its own, where nobody else copies.
    let test = "rows_are_copied_in_one_call_and_stay_inside_their_allocations";
    isolated(test, &[], copies_of_rows).unwrap();
}

fn copies_of_rows() {
    let context = CudaContext::new(0).unwrap();
    let stream = context.new_stream().unwrap();
    let inspection = Inspection::open().unwrap();
    let numbers: Vec<u8> = (0..40).collect();
    let source = stream.clone_htod(&numbers).unwrap();
    let target = stream.clone_htod(&[99_u8; 12]).unwrap();
    let [from, to] = [&source, &target].map(|slice| slice.device_ptr(&stream).0);
    // SAFETY: both slices outlive the copies, which stay inside of them or are refused.
    let run = |copy: CUDA_MEMCPY2D| unsafe { cuMemcpy2DAsync_v2(&copy, stream.cu_stream()) };
    let copies = inspection.uses("copy").unwrap();
    let placed = CUDA_MEMCPY2D {
        srcXInBytes: 2,
        srcY: 1,
        dstXInBytes: 1,
        ..rows((from, 10), (to, 4), 3, 3)
    };
    assert_eq!(run(placed).result(), Ok(()));
    assert_eq!(inspection.uses("copy"), Some(copies + 1));
    let found = stream.clone_dtoh(&target).unwrap();
    assert_eq!(found, [99, 12, 13, 14, 99, 22, 23, 24, 99, 32, 33, 34]);
    let below_a_row = CUDA_MEMCPY2D {
        dstXInBytes: 1,
        ..rows((from, 10), (to, 3), 3, 1)
    };
    for refused in [
        below_a_row,
        rows((from, 10), (to, 4), 3, 4),
        rows((from, 2), (to, 4), 3, 3),
        rows((from, 19), (to, 4), 3, 4),
        rows((from, 1 << 31), (to, 4), 3, 1),
        rows((from, 10), (to + 12, 4), 3, 1),
    ] {
        assert_eq!(run(refused).result(), Err(INVALID_VALUE), "{refused:?}");
    }
    let of_the_host = CUDA_MEMCPY2D {
        srcMemoryType: CUmemorytype::CU_MEMORYTYPE_HOST,
        ..rows((from, 10), (to, 4), 3, 3)
    };
    let not_there = DriverError(CUresult::CUDA_ERROR_NOT_SUPPORTED);
    assert_eq!(run(of_the_host).result(), Err(not_there));
    assert_eq!(run(rows((from, 10), (to, 4), 3, 0)).result(), Ok(()));
    assert_eq!(stream.clone_dtoh(&target).unwrap(), found);
}

#[test]
fn a_context_frees_what_it_leaves() {
    isolated("a_context_frees_what_it_leaves", &[], || {
        let context = CudaContext::new(0).unwrap();
        let stream = context.default_stream();
        let lost: CudaSlice<u8> = stream.alloc_zeros(4096).unwrap();
        lost.leak();
        let inspection = Inspection::open().unwrap();
        assert_eq!(inspection.memory(0).unwrap().live_bytes, 4096);
        drop((stream, context));
        assert_eq!(inspection.memory(0).unwrap().live_bytes, 0);
    })
    .unwrap();
}

#[test]
fn a_pool_keeps_accounts() {
    use cudarc::driver::sys::{
        CUmemAllocationType, CUmemLocation, CUmemLocationType, CUmemPool_attribute, CUmemPoolProps,
    };
    EmulatedDriver::build().unwrap().load().unwrap();
    let context = CudaContext::new(0).unwrap();
    let stream = context.new_stream().unwrap();
    // SAFETY: a structure of plain data, of which zero is a value; the pool and its block are freed once.
    unsafe {
        let mut properties: CUmemPoolProps = std::mem::zeroed();
        properties.allocType = CUmemAllocationType::CU_MEM_ALLOCATION_TYPE_PINNED;
        properties.location = CUmemLocation {
            type_: CUmemLocationType::CU_MEM_LOCATION_TYPE_DEVICE,
            id: 0,
        };
        let pool = result::mem_pool::create(&properties).unwrap();
        let used = |attribute| {
            let mut bytes = 0_u64;
            result::mem_pool::get_attribute(pool, attribute, (&raw mut bytes).cast()).unwrap();
            bytes
        };
        let current = CUmemPool_attribute::CU_MEMPOOL_ATTR_USED_MEM_CURRENT;
        let high = CUmemPool_attribute::CU_MEMPOOL_ATTR_USED_MEM_HIGH;
        let block = result::mem_pool::alloc_async(pool, 1000, stream.cu_stream()).unwrap();
        assert_eq!((used(current), used(high)), (1000, 1000));
        result::free_async(block, stream.cu_stream()).unwrap();
        assert_eq!(used(current), 1000, "the free is only queued");
        stream.synchronize().unwrap();
        assert_eq!((used(current), used(high)), (0, 1000));
        result::mem_pool::destroy(pool).unwrap();
    }
}

#[test]
fn the_planned_copy_fails_and_no_other() {
    let plan = [("HIMUON_EMULATOR_FAIL", "copy:2")];
    isolated("the_planned_copy_fails_and_no_other", &plan, || {
        let stream = CudaContext::new(0).unwrap().new_stream().unwrap();
        let copies = [(); 3].map(|()| stream.clone_htod(&[1_u8; 8]).map(|_| ()));
        let refused = DriverError(CUresult::CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES);
        assert_eq!(copies, [Ok(()), Err(refused), Ok(())]);
    })
    .unwrap();
}

/// Many threads with a stream each: every one sees its own numbers.
#[test]
fn threads_do_not_disturb_each_other() {
    EmulatedDriver::build().unwrap().load().unwrap();
    let context = CudaContext::new(0).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8_u32 {
            let context = &context;
            scope.spawn(move || {
                let stream = context.new_stream().unwrap();
                for round in 0..50 {
                    let numbers = [thread, round, thread * round];
                    let first = stream.clone_htod(&numbers).unwrap();
                    let second = stream.clone_dtod(&first).unwrap();
                    assert_eq!(stream.clone_dtoh(&second).unwrap(), numbers);
                }
            });
        }
    });
}
