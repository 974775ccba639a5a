//! Graphs built and changed node by node through the C interface.
#![allow(unsafe_code, clippy::unwrap_used)]

use std::ffi::c_void;
use std::mem::zeroed;
use std::ptr::{null, null_mut, without_provenance_mut};
use std::sync::Arc;

use cudarc::driver::sys::{self, CUresult};
use cudarc::driver::{CudaContext, CudaStream, result};
use himuon_toolkit::Toolkit;
use himuon_toolkit::emulated::EmulatedDriver;

const SOURCE: &str = r#"
extern "C" __global__ void add(float *data, float term) { data[threadIdx.x] += term; }
extern "C" __global__ void multiply(float *data, float factor) { data[threadIdx.x] *= factor; }
"#;
const LENGTH: u32 = 32;

/// Two kernels and a block of numbers, by their C handles.
struct Bench {
    _context: Arc<CudaContext>,
    stream: Arc<CudaStream>,
    add: sys::CUfunction,
    multiply: sys::CUfunction,
    data: u64,
}

fn bench() -> Bench {
    EmulatedDriver::build().unwrap().load().unwrap();
    let context = CudaContext::new_non_primary(0, 0).unwrap();
    let stream = context.new_stream().unwrap();
    let ptx = Toolkit::locate_or_install()
        .unwrap()
        .compile_ptx(SOURCE, "sm_80", &[])
        .unwrap();
    let ptx = std::ffi::CString::new(ptx).unwrap();
    // SAFETY: the image lives during the call; handles and memory live as long as the context.
    unsafe {
        let module = result::module::load_data(ptx.as_ptr().cast()).unwrap();
        let [add, multiply] = [c"add", c"multiply"]
            .map(|name| result::module::get_function(module, name.to_owned()).unwrap());
        let data = result::malloc_sync(4 * LENGTH as usize).unwrap();
        Bench {
            _context: context,
            stream,
            add,
            multiply,
            data,
        }
    }
}

impl Bench {
    fn set(&self, value: f32) {
        // SAFETY: the block holds `LENGTH` words.
        unsafe { result::memcpy_htod_sync(self.data, &[value; LENGTH as usize]) }.unwrap();
    }

    fn get(&self) -> f32 {
        let mut data = [0.0_f32; LENGTH as usize];
        self.stream.synchronize().unwrap();
        // SAFETY: the block holds `LENGTH` words.
        unsafe { result::memcpy_dtoh_sync(&mut data, self.data) }.unwrap();
        assert!(data.iter().all(|value| *value == data[0]), "{data:?}");
        data[0]
    }

    /// Calls `body` with the parameters of one block of `function` on the data; the pointers live that long.
    fn with_params<T>(
        &self,
        function: sys::CUfunction,
        mut operand: f32,
        body: impl FnOnce(&sys::CUDA_KERNEL_NODE_PARAMS) -> T,
    ) -> T {
        let mut data = self.data;
        let mut pointers: [*mut c_void; 2] = [(&raw mut data).cast(), (&raw mut operand).cast()];
        // SAFETY: a structure of integers and pointers, of which zero is a value.
        let mut params: sys::CUDA_KERNEL_NODE_PARAMS = unsafe { zeroed() };
        params.func = function;
        (params.gridDimX, params.gridDimY, params.gridDimZ) = (1, 1, 1);
        (params.blockDimX, params.blockDimY, params.blockDimZ) = (LENGTH, 1, 1);
        params.kernelParams = pointers.as_mut_ptr();
        body(&params)
    }

    fn add_node(
        &self,
        graph: sys::CUgraph,
        after: &[sys::CUgraphNode],
        function: sys::CUfunction,
        operand: f32,
    ) -> sys::CUgraphNode {
        let mut node = null_mut();
        self.with_params(function, operand, |params| {
            // SAFETY: the graph and the nodes live, the parameters do during the call.
            unsafe {
                sys::cuGraphAddKernelNode_v2(&mut node, graph, after.as_ptr(), after.len(), params)
            }
        })
        .result()
        .unwrap();
        node
    }

    /// `(x + 1) * 3`, as two nodes.
    fn graph(&self) -> (sys::CUgraph, [sys::CUgraphNode; 2]) {
        let mut graph = null_mut();
        // SAFETY: the result is of this frame.
        unsafe { sys::cuGraphCreate(&mut graph, 0) }
            .result()
            .unwrap();
        let add = self.add_node(graph, &[], self.add, 1.0);
        let multiply = self.add_node(graph, &[add], self.multiply, 3.0);
        (graph, [add, multiply])
    }

    fn instantiate(&self, graph: sys::CUgraph) -> sys::CUgraphExec {
        // SAFETY: the graph lives.
        unsafe { result::graph::instantiate(graph, sys::CUgraphInstantiate_flags(0)) }.unwrap()
    }

    fn launch(&self, executable: sys::CUgraphExec) -> Result<(), result::DriverError> {
        // SAFETY: the stream lives; a destroyed executable is refused.
        unsafe { result::graph::launch(executable, self.stream.cu_stream()) }
    }
}

#[test]
fn nodes_run_in_the_order_of_their_dependencies() {
    let bench = bench();
    let (graph, _) = bench.graph();
    let executable = bench.instantiate(graph);
    // SAFETY: destroyed once; an executable does not need its graph.
    unsafe { result::graph::destroy(graph) }.unwrap();
    bench.set(1.0);
    bench.launch(executable).unwrap();
    bench.launch(executable).unwrap();
    assert_eq!(bench.get(), 21.0, "((1 + 1) * 3 + 1) * 3");
    // SAFETY: destroyed once; the launch after is refused.
    unsafe { result::graph::exec_destroy(executable) }.unwrap();
    assert_eq!(
        bench.launch(executable).unwrap_err().0,
        CUresult::CUDA_ERROR_INVALID_HANDLE
    );
}

/// A launch that is queued already keeps the parameters that it was launched with.
#[test]
fn new_parameters_hold_for_later_launches_only() {
    let bench = bench();
    let (graph, [_, multiply]) = bench.graph();
    let executable = bench.instantiate(graph);
    bench.set(1.0);
    bench.launch(executable).unwrap();
    bench.with_params(bench.multiply, 10.0, |params| {
        // SAFETY: executable and node live, the parameters do during the call.
        unsafe { sys::cuGraphExecKernelNodeSetParams_v2(executable, multiply, params) }
            .result()
            .unwrap();
    });
    bench.launch(executable).unwrap();
    assert_eq!(bench.get(), 70.0, "((1 + 1) * 3 + 1) * 10");
}

#[test]
fn a_node_can_be_switched_off_and_on() {
    let bench = bench();
    let (graph, [add, _]) = bench.graph();
    let executable = bench.instantiate(graph);
    for (enabled, expected) in [(0, 3.0), (1, 6.0)] {
        // SAFETY: executable and node live.
        unsafe { sys::cuGraphNodeSetEnabled(executable, add, enabled) }
            .result()
            .unwrap();
        bench.set(1.0);
        bench.launch(executable).unwrap();
        assert_eq!(bench.get(), expected);
    }
}

#[test]
fn an_executable_takes_over_a_graph_of_the_same_shape_only() {
    let bench = bench();
    let (graph, _) = bench.graph();
    let executable = bench.instantiate(graph);
    let (other, [first, _]) = bench.graph();
    bench.with_params(bench.multiply, 5.0, |params| {
        // SAFETY: the node lives, the parameters do during the call.
        unsafe { sys::cuGraphKernelNodeSetParams_v2(first, params) }
            .result()
            .unwrap();
    });
    let update = |graph| {
        // SAFETY: executable and graph live; the structure is plain data that the driver fills.
        unsafe {
            let mut info: sys::CUgraphExecUpdateResultInfo = zeroed();
            (
                sys::cuGraphExecUpdate_v2(executable, graph, &mut info),
                info.result,
            )
        }
    };
    let success = sys::CUgraphExecUpdateResult::CU_GRAPH_EXEC_UPDATE_SUCCESS;
    assert_eq!(update(other), (CUresult::CUDA_SUCCESS, success));
    bench.set(1.0);
    bench.launch(executable).unwrap();
    assert_eq!(bench.get(), 15.0, "1 * 5 * 3");

    bench.add_node(other, &[], bench.add, 1.0);
    let changed = sys::CUgraphExecUpdateResult::CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED;
    assert_eq!(
        update(other),
        (CUresult::CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE, changed)
    );
}

#[test]
fn extended_launches_and_parameter_buffers_work() {
    let bench = bench();
    bench.set(2.0);
    // SAFETY: structures of integers and pointers, of which zero is a value; the arguments match the kernel.
    unsafe {
        let mut config: sys::CUlaunchConfig = zeroed();
        (config.gridDimX, config.gridDimY, config.gridDimZ) = (1, 1, 1);
        (config.blockDimX, config.blockDimY, config.blockDimZ) = (LENGTH, 1, 1);
        config.hStream = bench.stream.cu_stream();
        let mut attributes: [sys::CUlaunchAttribute; 2] = zeroed();
        attributes[0].id = sys::CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_PRIORITY;
        attributes[1].id = sys::CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION;
        attributes[1].value.clusterDim.x = 2;
        (config.attrs, config.numAttrs) = (attributes.as_mut_ptr(), 1);
        // One buffer with all parameters: the pointer, then the number at offset 8.
        let mut block = [0_u8; 12];
        block[..8].copy_from_slice(&bench.data.to_ne_bytes());
        block[8..].copy_from_slice(&4.0_f32.to_ne_bytes());
        let mut bytes = block.len();
        let mut extra: [*mut c_void; 5] = [
            without_provenance_mut(1),
            block.as_mut_ptr().cast(),
            without_provenance_mut(2),
            (&raw mut bytes).cast(),
            null_mut(),
        ];
        sys::cuLaunchKernelEx(&config, bench.multiply, null_mut(), extra.as_mut_ptr())
            .result()
            .unwrap();
        assert_eq!(bench.get(), 8.0);

        // Clusters change the execution model and are refused.
        config.numAttrs = 2;
        let refused =
            sys::cuLaunchKernelEx(&config, bench.multiply, null_mut(), extra.as_mut_ptr());
        assert_eq!(refused, CUresult::CUDA_ERROR_NOT_SUPPORTED);
    }
}

#[test]
fn a_memset_node_fills_a_rectangle() {
    let bench = bench();
    bench.set(1.0);
    // SAFETY: structures of integers and pointers, of which zero is a value; the rectangle is inside the block.
    unsafe {
        let mut graph = null_mut();
        sys::cuGraphCreate(&mut graph, 0).result().unwrap();
        let mut params: sys::CUDA_MEMSET_NODE_PARAMS = zeroed();
        params.dst = bench.data;
        (params.value, params.elementSize) = (7.0_f32.to_bits(), 4);
        // Two words of each row of eight.
        (params.pitch, params.width, params.height) = (32, 2, 4);
        let mut node = null_mut();
        sys::cuGraphAddMemsetNode(&mut node, graph, null(), 0, &params, null_mut())
            .result()
            .unwrap();
        bench.launch(bench.instantiate(graph)).unwrap();
        let mut data = [0.0_f32; LENGTH as usize];
        bench.stream.synchronize().unwrap();
        result::memcpy_dtoh_sync(&mut data, bench.data).unwrap();
        let expected: Vec<f32> = (0..LENGTH)
            .map(|index| if index % 8 < 2 { 7.0 } else { 1.0 })
            .collect();
        assert_eq!(data.to_vec(), expected);
    }
}
