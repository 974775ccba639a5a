//! Stream capture and graphs, on copies and fills: what is recorded, replayed, changed and refused.
#![allow(unsafe_code, clippy::unwrap_used)]

use std::sync::Arc;

use cudarc::driver::sys::{self, CUgraphInstantiate_flags, CUresult, CUstreamCaptureMode};
use cudarc::driver::{CudaContext, CudaGraph, CudaStream, DriverError, result};
use himuon_toolkit::emulated::EmulatedDriver;

const GLOBAL: CUstreamCaptureMode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_GLOBAL;
const THREAD_LOCAL: CUstreamCaptureMode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;

/// Every test has a context of its own, because a capture concerns all of a context.
fn context() -> Arc<CudaContext> {
    EmulatedDriver::build().unwrap().load().unwrap();
    let context = CudaContext::new_non_primary(0, 0).unwrap();
    // SAFETY: the tests order their streams themselves; cudarc's events would reach out of the capture.
    unsafe { context.disable_event_tracking() };
    context
}

fn end(stream: &Arc<CudaStream>) -> Result<CudaGraph, DriverError> {
    stream
        .end_capture(CUgraphInstantiate_flags(0))
        .map(Option::unwrap)
}

fn refused<T>(outcome: Result<T, DriverError>, code: CUresult) {
    assert_eq!(outcome.err(), Some(DriverError(code)));
}

#[test]
fn a_captured_fill_runs_at_each_launch_and_not_before() {
    let context = context();
    let stream = context.new_stream().unwrap();
    let mut data = stream.clone_htod(&[1_u32; 16]).unwrap();
    stream.synchronize().unwrap();
    stream.begin_capture(THREAD_LOCAL).unwrap();
    stream.memset_zeros(&mut data).unwrap();
    let graph = end(&stream).unwrap();
    assert_eq!(
        stream.clone_dtoh(&data).unwrap(),
        [1; 16],
        "capturing does not execute"
    );
    for value in [2_u32, 3] {
        graph.launch().unwrap();
        assert_eq!(stream.clone_dtoh(&data).unwrap(), [0; 16]);
        stream.memcpy_htod(&[value; 16], &mut data).unwrap();
    }
}

/// Two streams: one forks off and joins again; the graph keeps the order, the fork's fill between the two others.
#[test]
fn a_fork_and_its_join_become_dependencies() {
    let context = context();
    let [main, side] = [(); 2].map(|()| context.new_stream().unwrap());
    let first = main.alloc_zeros::<u8>(4).unwrap();
    let second = main.alloc_zeros::<u8>(4).unwrap();
    main.synchronize().unwrap();
    let [a, b] = [&first, &second].map(|slice| {
        use cudarc::driver::DevicePtr;
        slice.device_ptr(&main).0
    });
    main.begin_capture(THREAD_LOCAL).unwrap();
    // SAFETY: both blocks hold 4 bytes and live to the end.
    unsafe {
        result::memset_d8_async(a, 5, 4, main.cu_stream()).unwrap();
        side.join(&main).unwrap();
        result::memcpy_dtod_async(b, a, 4, side.cu_stream()).unwrap();
        main.join(&side).unwrap();
        result::memset_d8_async(a, 6, 4, main.cu_stream()).unwrap();
    }
    let graph = end(&main).unwrap();
    assert_eq!(dependency_counts(graph.cu_graph()), [0, 1, 2]);
    graph.launch().unwrap();
    assert_eq!(main.clone_dtoh(&first).unwrap(), [6; 4]);
    assert_eq!(main.clone_dtoh(&second).unwrap(), [5; 4]);
}

/// How many dependencies each node has, in the order of capture.
fn dependency_counts(graph: sys::CUgraph) -> Vec<usize> {
    // SAFETY: the graph lives; the array holds what the driver has announced.
    unsafe {
        let mut count = 0;
        sys::cuGraphGetNodes(graph, std::ptr::null_mut(), &mut count)
            .result()
            .unwrap();
        let mut nodes = vec![std::ptr::null_mut(); count];
        sys::cuGraphGetNodes(graph, nodes.as_mut_ptr(), &mut count)
            .result()
            .unwrap();
        nodes
            .into_iter()
            .map(|node| {
                let (mut count, null) = (0, std::ptr::null_mut());
                sys::cuGraphNodeGetDependencies_v2(node, null, std::ptr::null_mut(), &mut count)
                    .result()
                    .unwrap();
                count
            })
            .collect()
    }
}

#[test]
fn an_upload_in_a_graph_reads_the_host_at_each_launch() {
    let context = context();
    let stream = context.new_stream().unwrap();
    let mut device = stream.alloc_zeros::<u32>(4).unwrap();
    stream.synchronize().unwrap();
    let mut host = vec![1_u32; 4];
    stream.begin_capture(THREAD_LOCAL).unwrap();
    stream.memcpy_htod(&host, &mut device).unwrap();
    let graph = end(&stream).unwrap();
    for value in [7, 8] {
        host.fill(value);
        graph.launch().unwrap();
        assert_eq!(stream.clone_dtoh(&device).unwrap(), [value; 4]);
    }
}

#[test]
fn waiting_inside_a_capture_invalidates_it() {
    let context = context();
    let stream = context.new_stream().unwrap();
    stream.begin_capture(THREAD_LOCAL).unwrap();
    refused(
        stream.synchronize(),
        CUresult::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED,
    );
    assert_eq!(
        stream.capture_status().unwrap(),
        sys::CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_INVALIDATED
    );
    refused(
        end(&stream),
        CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED,
    );
    assert_eq!(
        stream.capture_status().unwrap(),
        sys::CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_NONE
    );
    stream.synchronize().unwrap();
}

#[test]
fn allocating_inside_a_capture_is_refused() {
    let context = context();
    let stream = context.new_stream().unwrap();
    stream.begin_capture(THREAD_LOCAL).unwrap();
    refused(
        stream.alloc_zeros::<u8>(4),
        CUresult::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED,
    );
    refused(
        end(&stream),
        CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED,
    );
}

#[test]
fn an_event_from_outside_cannot_be_waited_for() {
    let context = context();
    let [stream, other] = [(); 2].map(|()| context.new_stream().unwrap());
    let outside = other.record_event(None).unwrap();
    stream.begin_capture(THREAD_LOCAL).unwrap();
    refused(
        stream.wait(&outside),
        CUresult::CUDA_ERROR_STREAM_CAPTURE_ISOLATION,
    );
    refused(
        end(&stream),
        CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED,
    );
}

#[test]
fn an_event_from_inside_cannot_be_waited_for_by_the_host() {
    let context = context();
    let stream = context.new_stream().unwrap();
    stream.begin_capture(THREAD_LOCAL).unwrap();
    let inside = stream.record_event(None).unwrap();
    refused(inside.synchronize(), CUresult::CUDA_ERROR_CAPTURED_EVENT);
    refused(
        end(&stream),
        CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED,
    );
}

#[test]
fn a_fork_that_never_joins_is_refused() {
    let context = context();
    let [main, side] = [(); 2].map(|()| context.new_stream().unwrap());
    let mut data = main.alloc_zeros::<u8>(4).unwrap();
    main.synchronize().unwrap();
    main.begin_capture(THREAD_LOCAL).unwrap();
    side.join(&main).unwrap();
    side.memset_zeros(&mut data).unwrap();
    refused(end(&main), CUresult::CUDA_ERROR_STREAM_CAPTURE_UNJOINED);
    side.synchronize().unwrap();
}

#[test]
fn two_captures_do_not_merge() {
    let context = context();
    let [first, second] = [(); 2].map(|()| context.new_stream().unwrap());
    first.begin_capture(THREAD_LOCAL).unwrap();
    second.begin_capture(THREAD_LOCAL).unwrap();
    refused(
        first.join(&second),
        CUresult::CUDA_ERROR_STREAM_CAPTURE_MERGE,
    );
    for stream in [&first, &second] {
        refused(end(stream), CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    }
}

#[test]
fn the_default_stream_cannot_be_captured() {
    let refusal = context().default_stream().begin_capture(GLOBAL);
    refused(refusal, CUresult::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
}

#[test]
fn only_the_stream_and_thread_that_began_may_end() {
    let context = context();
    let [main, side] = [(); 2].map(|()| context.new_stream().unwrap());
    main.begin_capture(THREAD_LOCAL).unwrap();
    side.join(&main).unwrap();
    let elsewhere = std::thread::scope(|scope| scope.spawn(|| end(&main).err()).join().unwrap());
    assert_eq!(
        elsewhere,
        Some(DriverError(
            CUresult::CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD
        ))
    );
    refused(end(&side), CUresult::CUDA_ERROR_STREAM_CAPTURE_UNMATCHED);
    refused(end(&main), CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
}
