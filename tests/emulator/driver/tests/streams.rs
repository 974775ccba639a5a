//! Streams and events: order where it was asked for, and none where it was not.

#![allow(unsafe_code, clippy::unwrap_used)]

use std::ffi::c_void;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};

use cudarc::driver::sys::{CUevent_flags, CUresult};
use cudarc::driver::{CudaContext, CudaStream, DriverError, result};
use himuon_toolkit::emulated::{EmulatedDriver, isolated};

/// A context without cudarc's own events, so that only the test orders streams.
fn context() -> Arc<CudaContext> {
    EmulatedDriver::build().unwrap().load().unwrap();
    let context = CudaContext::new(0).unwrap();
    // SAFETY: the tests order their streams themselves; that is what they test.
    unsafe { context.disable_event_tracking() };
    context
}

/// The order in which host functions ran.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u32>>>);

impl Log {
    fn seen(&self) -> Vec<u32> {
        self.0.lock().unwrap().clone()
    }

    /// Queues a host function that adds `entry`.
    fn note(&self, stream: &CudaStream, entry: u32) {
        extern "C" fn add(argument: *mut c_void) {
            // SAFETY: `note` made the pointer from a box of this type, for this one call.
            let (log, entry) = *unsafe { Box::from_raw(argument.cast::<(Log, u32)>()) };
            log.0.lock().unwrap().push(entry);
        }
        let argument = Box::into_raw(Box::new((self.clone(), entry)));
        // SAFETY: the function matches its argument and calls nothing of CUDA.
        unsafe { result::stream::launch_host_function(stream.cu_stream(), add, argument.cast()) }
            .unwrap();
    }
}

#[test]
fn a_stream_keeps_its_order() {
    let stream = context().new_stream().unwrap();
    let log = Log::default();
    for turn in 1..=1000 {
        log.note(&stream, turn);
    }
    stream.synchronize().unwrap();
    assert_eq!(log.seen(), (1..=1000).collect::<Vec<_>>());
}

#[test]
fn nothing_runs_before_somebody_waits() {
    let stream = context().new_stream().unwrap();
    let log = Log::default();
    log.note(&stream, 1);
    assert!(log.seen().is_empty());
    stream.synchronize().unwrap();
    assert_eq!(log.seen(), [1]);
}

#[test]
fn an_event_orders_two_streams() {
    let context = context();
    let [first, second] = [(); 2].map(|()| context.new_stream().unwrap());
    let log = Log::default();
    log.note(&first, 1);
    let event = first.record_event(None).unwrap();
    second.wait(&event).unwrap();
    log.note(&second, 2);
    assert!(!event.is_complete());
    second.synchronize().unwrap();
    assert_eq!(log.seen(), [1, 2]);
    assert!(event.is_complete());
}

/// The planted mistake: the second stream reads without waiting for the first. It sees the old bytes, every time.
#[test]
fn a_forgotten_wait_shows() {
    let context = context();
    let [writer, reader] = [(); 2].map(|()| context.new_stream().unwrap());
    let mut data = writer.clone_htod(&[1_u32; 64]).unwrap();
    writer.synchronize().unwrap();
    writer.memset_zeros(&mut data).unwrap();
    assert_eq!(reader.clone_dtoh(&data).unwrap(), [1; 64]);
    reader.join(&writer).unwrap();
    assert_eq!(reader.clone_dtoh(&data).unwrap(), [0; 64]);
}

#[test]
fn a_wait_keeps_the_mark_that_it_saw() {
    let context = context();
    let [first, second] = [(); 2].map(|()| context.new_stream().unwrap());
    let log = Log::default();
    log.note(&first, 1);
    let event = first.record_event(None).unwrap();
    second.wait(&event).unwrap();
    log.note(&first, 2);
    event.record(&first).unwrap();
    second.synchronize().unwrap();
    assert_eq!(log.seen(), [1], "the wait is for the first mark");
    event.synchronize().unwrap();
    assert_eq!(log.seen(), [1, 2]);
}

#[test]
fn polling_an_event_comes_to_an_end() {
    let stream = context().new_stream().unwrap();
    let log = Log::default();
    for turn in 1..=5 {
        log.note(&stream, turn);
    }
    let event = stream.record_event(None).unwrap();
    assert_eq!(event.try_is_complete(), Ok(false));
    while !event.try_is_complete().unwrap() {}
    assert_eq!(log.seen(), [1, 2, 3, 4, 5]);
}

/// The function waits for the thread that asks: a query that waited for the function would never return.
#[test]
fn a_query_does_not_wait_for_a_host_function() {
    extern "C" fn wait(argument: *mut c_void) {
        // SAFETY: the pointer was made from a box of this type, for this one call.
        let gate = unsafe { Box::from_raw(argument.cast::<Receiver<()>>()) };
        gate.recv().unwrap();
    }
    let stream = context().new_stream().unwrap();
    let (release, gate) = channel::<()>();
    let argument = Box::into_raw(Box::new(gate)).cast();
    // SAFETY: the function matches its argument and calls nothing of CUDA.
    unsafe { result::stream::launch_host_function(stream.cu_stream(), wait, argument) }.unwrap();
    let event = stream.record_event(None).unwrap();
    for _ in 0..3 {
        assert_eq!(event.try_is_complete(), Ok(false));
    }
    release.send(()).unwrap();
    event.synchronize().unwrap();
    assert_eq!(event.try_is_complete(), Ok(true));
}

/// cudarc's own streams are all non-blocking, so this makes a blocking one by hand.
#[test]
fn the_legacy_stream_waits_for_blocking_streams_and_they_for_it() {
    let context = context();
    context.bind_to_thread().unwrap();
    let legacy = context.default_stream();
    let blocking = result::stream::create(result::stream::StreamKind::Default).unwrap();
    // SAFETY: three live blocks of 4 bytes, freed at the end; the stream is destroyed once.
    unsafe {
        let [first, second] = [(); 2].map(|()| result::malloc_sync(4).unwrap());
        result::memset_d8_async(first, 7, 4, blocking).unwrap();
        result::memcpy_dtod_async(second, first, 4, legacy.cu_stream()).unwrap();
        result::memset_d8_async(second, 9, 4, blocking).unwrap();
        let mut seen = [0_u8; 4];
        result::memcpy_dtoh_async(&mut seen, second, blocking).unwrap();
        assert_eq!(seen, [9; 4], "after the legacy stream's copy");
        result::memcpy_dtoh_sync(&mut seen, first).unwrap();
        assert_eq!(seen, [7; 4]);
        result::stream::destroy(blocking).unwrap();
        result::free_sync(first).unwrap();
        result::free_sync(second).unwrap();
    }
}

#[test]
fn an_upload_from_pinned_memory_reads_it_when_it_executes() {
    let context = context();
    let stream = context.new_stream().unwrap();
    let mut device = stream.alloc_zeros::<u32>(4).unwrap();
    // SAFETY: written before it is read.
    let mut pinned = unsafe { context.alloc_pinned::<u32>(4) }.unwrap();
    pinned.as_mut_slice().unwrap().fill(1);
    stream.memcpy_htod(&pinned, &mut device).unwrap();
    assert_eq!(stream.clone_dtoh(&device).unwrap(), [1; 4]);

    let mut pageable = vec![2_u32; 4];
    stream.memcpy_htod(&pageable, &mut device).unwrap();
    pageable.fill(3);
    assert_eq!(
        stream.clone_dtoh(&device).unwrap(),
        [2; 4],
        "pageable memory is staged at the call"
    );
}

#[test]
fn events_refuse_what_they_cannot_tell() {
    let context = context();
    let stream = context.new_stream().unwrap();
    let timed = || {
        context
            .new_event(Some(CUevent_flags::CU_EVENT_DEFAULT))
            .unwrap()
    };
    let (start, end, never) = (timed(), timed(), timed());
    start.record(&stream).unwrap();
    end.record(&stream).unwrap();
    let handles = (start.cu_event(), end.cu_event());
    // SAFETY: both events live.
    let early = unsafe { result::event::elapsed(handles.0, handles.1) };
    assert_eq!(early, Err(DriverError(CUresult::CUDA_ERROR_NOT_READY)));
    assert_eq!(start.elapsed_ms(&end), Ok(0.0), "no kernel ran between");
    assert!(never.is_complete(), "an event never recorded is complete");
    let unrecorded = start.elapsed_ms(&never);
    assert_eq!(
        unrecorded,
        Err(DriverError(CUresult::CUDA_ERROR_INVALID_HANDLE))
    );
}

#[test]
fn eager_streams_run_at_once() {
    isolated(
        "eager_streams_run_at_once",
        &[("HIMUON_EMULATOR_STREAMS", "eager")],
        || {
            let stream = CudaContext::new(0).unwrap().new_stream().unwrap();
            let log = Log::default();
            log.note(&stream, 1);
            assert_eq!(log.seen(), [1]);
        },
    )
    .unwrap();
}
