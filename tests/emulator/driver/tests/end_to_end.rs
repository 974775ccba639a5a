//! The whole way through cudarc's safe interface: module, allocation, copies, two streams, events, launches,
//! capture and replay with changed parameters.
#![allow(unsafe_code, clippy::unwrap_used)]

use std::sync::Arc;

use cudarc::driver::sys::{self, CUevent_flags, CUgraphInstantiate_flags, CUstreamCaptureMode};
use cudarc::driver::{
    CudaContext, CudaFunction, CudaSlice, CudaStream, DevicePtr, LaunchConfig, PushKernelArg,
};
use cudarc::nvrtc::Ptx;
use himuon_toolkit::Toolkit;
use himuon_toolkit::emulated::{EmulatedDriver, Inspection, isolated};

/// Scales a vector, and reverses it in tiles through shared memory: reads past the ragged end are left out.
const SOURCE: &str = r#"
extern "C" __global__ void scale(float *data, float factor, unsigned length) {
    unsigned index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index < length) data[index] *= factor;
}

extern "C" __global__ void reverse_tiles(float *out, const float *in, unsigned length) {
    extern __shared__ float tile[];
    unsigned first = blockIdx.x * blockDim.x;
    unsigned width = min(blockDim.x, length - first);
    if (threadIdx.x < width) tile[threadIdx.x] = in[first + threadIdx.x];
    __syncthreads();
    if (threadIdx.x < width) out[first + threadIdx.x] = tile[width - 1 - threadIdx.x];
}
"#;

const LENGTH: usize = 1000;
const BLOCK: u32 = 128;

struct Machine {
    inspection: Inspection,
    context: Arc<CudaContext>,
    scale: CudaFunction,
    reverse_tiles: CudaFunction,
}

fn machine() -> Machine {
    let inspection = EmulatedDriver::build().unwrap().load().unwrap();
    let toolkit = Toolkit::locate_or_install().unwrap();
    let ptx = toolkit.compile_ptx(SOURCE, "sm_80", &[]).unwrap();
    let context = CudaContext::new(0).unwrap();
    let module = context.load_module(Ptx::from_src(ptx)).unwrap();
    let [scale, reverse_tiles] =
        ["scale", "reverse_tiles"].map(|name| module.load_function(name).unwrap());
    Machine {
        inspection,
        context,
        scale,
        reverse_tiles,
    }
}

fn shape(shared_mem_bytes: u32) -> LaunchConfig {
    let grid = (LENGTH as u32).div_ceil(BLOCK);
    LaunchConfig {
        grid_dim: (grid, 1, 1),
        block_dim: (BLOCK, 1, 1),
        shared_mem_bytes,
    }
}

fn numbers() -> Vec<f32> {
    (0..LENGTH).map(|index| index as f32 + 0.5).collect()
}

fn reversed_in_tiles(data: &[f32]) -> Vec<f32> {
    data.chunks(BLOCK as usize)
        .flat_map(|tile| tile.iter().rev().copied())
        .collect()
}

impl Machine {
    fn scale(&self, stream: &Arc<CudaStream>, data: &mut CudaSlice<f32>, factor: f32) {
        let length = LENGTH as u32;
        let mut launch = stream.launch_builder(&self.scale);
        launch.arg(data).arg(&factor).arg(&length);
        // SAFETY: the arguments match the kernel's parameters, and it stays inside `length` elements.
        unsafe { launch.launch(shape(0)) }.unwrap();
    }

    fn reverse(&self, stream: &Arc<CudaStream>, out: &mut CudaSlice<f32>, data: &CudaSlice<f32>) {
        let length = LENGTH as u32;
        let mut launch = stream.launch_builder(&self.reverse_tiles);
        launch.arg(out).arg(data).arg(&length);
        // SAFETY: as above; the dynamic shared memory holds one element for each thread.
        unsafe { launch.launch(shape(4 * BLOCK)) }.unwrap();
    }
}

#[test]
fn kernels_run_in_two_streams_that_an_event_orders() {
    let machine = machine();
    let [first, second] = [(); 2].map(|()| machine.context.new_stream().unwrap());
    let mut data = first.clone_htod(&numbers()).unwrap();
    let mut out = second.alloc_zeros::<f32>(LENGTH).unwrap();
    machine.scale(&first, &mut data, 3.0);
    let scaled = first.record_event(None).unwrap();
    second.wait(&scaled).unwrap();
    machine.reverse(&second, &mut out, &data);
    let expected: Vec<f32> = numbers().iter().map(|number| 3.0 * number).collect();
    assert!(second.clone_dtoh(&out).unwrap() == reversed_in_tiles(&expected));
    assert!(scaled.is_complete());
}

/// The other extreme of the order of execution gives the same bits.
#[test]
fn eager_execution_and_a_random_order_of_warps_give_the_same_bits() {
    let test = "eager_execution_and_a_random_order_of_warps_give_the_same_bits";
    let settings = [
        ("HIMUON_EMULATOR_STREAMS", "eager"),
        ("HIMUON_EMULATOR_ORDER", "random:11"),
    ];
    isolated(
        test,
        &settings,
        kernels_run_in_two_streams_that_an_event_orders,
    )
    .unwrap();
}

#[test]
fn events_count_instructions() {
    let machine = machine();
    let stream = machine.context.new_stream().unwrap();
    let mut data = stream.clone_htod(&numbers()).unwrap();
    let mark = || {
        stream
            .record_event(Some(CUevent_flags::CU_EVENT_DEFAULT))
            .unwrap()
    };
    let marks: Vec<_> = (0..3)
        .map(|launches| {
            let start = mark();
            (0..launches).for_each(|_| machine.scale(&stream, &mut data, 1.0));
            (start, mark())
        })
        .collect();
    let times: Vec<f32> = marks
        .iter()
        .map(|(start, end)| start.elapsed_ms(end).unwrap())
        .collect();
    assert_eq!(times[0], 0.0, "no kernel between");
    assert!(
        times[1] > 0.0 && (times[2] / times[1] - 2.0).abs() < 1e-3,
        "{times:?}"
    );
}

#[test]
fn counters_say_what_a_kernel_did() {
    let machine = machine();
    let stream = machine.context.new_stream().unwrap();
    let data = stream.clone_htod(&numbers()).unwrap();
    let mut out = stream.alloc_zeros::<f32>(LENGTH).unwrap();
    let read = || {
        machine
            .inspection
            .counters()
            .get("reverse_tiles")
            .cloned()
            .unwrap_or_default()
    };
    // Tests of this process share the counters, so only this kernel with this many launches more is looked at.
    let before = read();
    machine.reverse(&stream, &mut out, &data);
    stream.synchronize().unwrap();
    let after = read();
    assert!(after.launches > before.launches);
    let launches = after.launches - before.launches;
    assert_eq!(
        after.blocks - before.blocks,
        launches * u64::from(shape(0).grid_dim.0)
    );
    assert_eq!(
        after.global_bytes_read - before.global_bytes_read,
        launches * 4 * LENGTH as u64
    );
    assert_eq!(
        after.global_bytes_written - before.global_bytes_written,
        launches * 4 * LENGTH as u64
    );
    assert_eq!(
        after.barriers_completed - before.barriers_completed,
        launches * u64::from(shape(0).grid_dim.0)
    );
}

/// Parameters of the first kernel node of a graph: the handle, and what the driver shows.
fn first_node(graph: sys::CUgraph) -> (sys::CUgraphNode, sys::CUDA_KERNEL_NODE_PARAMS) {
    // SAFETY: the graph lives and has a node, which is a kernel's; the structure is plain data that the driver fills.
    unsafe {
        let (mut node, mut count) = (std::ptr::null_mut(), 1);
        sys::cuGraphGetNodes(graph, &mut node, &mut count)
            .result()
            .unwrap();
        let mut params = std::mem::zeroed();
        sys::cuGraphKernelNodeGetParams_v2(node, &mut params)
            .result()
            .unwrap();
        (node, params)
    }
}

#[test]
fn a_captured_launch_is_replayed_with_changed_parameters() {
    let machine = machine();
    let stream = machine.context.new_stream().unwrap();
    let mut data = stream.clone_htod(&numbers()).unwrap();
    let mut other = stream.clone_htod(&numbers()).unwrap();
    stream.synchronize().unwrap();
    // SAFETY: one stream does everything from here on; cudarc's events would reach out of the capture.
    unsafe { machine.context.disable_event_tracking() };
    stream
        .begin_capture(CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL)
        .unwrap();
    {
        let length = LENGTH as u32;
        let address = data.device_ptr(&stream).0;
        let mut launch = stream.launch_builder(&machine.scale);
        launch.arg(&address).arg(&2.0_f32).arg(&length);
        // SAFETY: the arguments match the kernel's parameters.
        unsafe { launch.launch(shape(0)) }.unwrap();
    }
    let graph = stream
        .end_capture(CUgraphInstantiate_flags(0))
        .unwrap()
        .unwrap();
    assert!(
        stream.clone_dtoh(&data).unwrap() == numbers(),
        "capturing does not execute"
    );

    graph.launch().unwrap();
    graph.launch().unwrap();
    let times = |factor: f32| {
        numbers()
            .iter()
            .map(|number| factor * number)
            .collect::<Vec<_>>()
    };
    assert!(stream.clone_dtoh(&data).unwrap() == times(4.0));

    let (node, mut params) = first_node(graph.cu_graph());
    assert_eq!(
        (params.gridDimX, params.blockDimX),
        (shape(0).grid_dim.0, BLOCK)
    );
    // SAFETY: the array holds three pointers, the second to the factor.
    let captured_factor = unsafe { **params.kernelParams.add(1).cast::<*const f32>() };
    assert_eq!(captured_factor, 2.0);

    let (mut address, mut factor, mut length) =
        (other.device_ptr(&stream).0, 10.0_f32, LENGTH as u32);
    let mut pointers: [*mut std::ffi::c_void; 3] = [
        (&raw mut address).cast(),
        (&raw mut factor).cast(),
        (&raw mut length).cast(),
    ];
    params.kernelParams = pointers.as_mut_ptr();
    // SAFETY: executable and node belong together; the pointers are to parameters of the right types.
    unsafe { sys::cuGraphExecKernelNodeSetParams_v2(graph.cu_graph_exec(), node, &params) }
        .result()
        .unwrap();
    graph.launch().unwrap();
    assert!(
        stream.clone_dtoh(&data).unwrap() == times(4.0),
        "the old target is left alone"
    );
    assert!(stream.clone_dtoh(&other).unwrap() == times(10.0));
    stream.memset_zeros(&mut data).unwrap();
    stream.memset_zeros(&mut other).unwrap();
}
