//! Kernels that fault and calls that are told to fail, each in a process of its own, as a fault lasts that long.
#![allow(unsafe_code, clippy::unwrap_used)]

use std::sync::Arc;

use cudarc::driver::sys::{CUgraphInstantiate_flags, CUresult, CUstreamCaptureMode};
use cudarc::driver::{
    CudaContext, CudaSlice, CudaStream, DriverError, LaunchConfig, PushKernelArg, result,
};
use cudarc::nvrtc::Ptx;
use himuon_toolkit::Toolkit;
use himuon_toolkit::emulated::{Inspection, Isolated, isolated};

const SOURCE: &str = r#"
extern "C" __global__ void fill(float *out, unsigned length) {
    unsigned index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index < length) out[index] = 1.0f;
}
extern "C" __global__ void misaligned(char *out) { *(float *)(out + 1) = 1.0f; }
extern "C" __global__ void race(float *out) {
    __shared__ float buffer[64];
    buffer[threadIdx.x] = 0.0f;
    __syncthreads();
    buffer[threadIdx.x] = threadIdx.x;
    out[threadIdx.x] = buffer[63 - threadIdx.x];
}
extern "C" __global__ void trap() { asm volatile("trap;"); }
extern "C" __global__ void endless(volatile unsigned *flag) { while (*flag == 0) {} }
"#;

fn error(code: CUresult) -> DriverError {
    DriverError(code)
}

struct Machine {
    context: Arc<CudaContext>,
    stream: Arc<CudaStream>,
    ptx: Ptx,
}

fn machine() -> Machine {
    let ptx = Toolkit::locate_or_install()
        .unwrap()
        .compile_ptx(SOURCE, "sm_80", &[])
        .unwrap();
    let context = CudaContext::new(0).unwrap();
    let stream = context.new_stream().unwrap();
    Machine {
        context,
        stream,
        ptx: Ptx::from_src(ptx),
    }
}

impl Machine {
    /// Launches one block of 64 threads on `data`.
    fn launch(&self, kernel: &str, data: &mut CudaSlice<f32>) -> Result<(), DriverError> {
        let function = self
            .context
            .load_module(self.ptx.clone())?
            .load_function(kernel)?;
        let mut launch = self.stream.launch_builder(&function);
        launch.arg(data);
        let shape = LaunchConfig {
            grid_dim: (1, 1, 1),
            block_dim: (64, 1, 1),
            shared_mem_bytes: 0,
        };
        // SAFETY: each of these kernels takes one pointer or nothing; what they do wrong is what the test is about.
        unsafe { launch.launch(shape) }.map(|_| ())
    }

    fn fill(&self, data: &mut CudaSlice<f32>, length: u32) -> Result<(), DriverError> {
        let function = self
            .context
            .load_module(self.ptx.clone())?
            .load_function("fill")?;
        let mut launch = self.stream.launch_builder(&function);
        launch.arg(data).arg(&length);
        // SAFETY: the arguments match the kernel's parameters; a length past the end is what the test is about.
        unsafe { launch.launch(LaunchConfig::for_num_elems(length)) }.map(|_| ())
    }
}

/// Runs a faulty kernel in a child process and returns what it printed.
fn faulty(
    test: &str,
    kernel: &str,
    code: CUresult,
    environment: &[(&str, &str)],
) -> Option<String> {
    let outcome = isolated(test, environment, || {
        let machine = machine();
        let mut data = machine.stream.alloc_zeros::<f32>(64).unwrap();
        machine.launch(kernel, &mut data).unwrap();
        assert_eq!(machine.stream.synchronize(), Err(error(code)));
        let message = Inspection::open().unwrap().last_message().unwrap();
        assert!(message.contains(&format!("kernel {kernel}")), "{message}");
    });
    match outcome.unwrap() {
        Isolated::Child => None,
        Isolated::Parent { output } => Some(output),
    }
}

#[test]
fn an_access_out_of_bounds_destroys_the_context() {
    let test = "an_access_out_of_bounds_destroys_the_context";
    let outcome = isolated(test, &[], || {
        let machine = machine();
        let illegal = Err(error(CUresult::CUDA_ERROR_ILLEGAL_ADDRESS));
        let mut data = machine.stream.alloc_zeros::<f32>(100).unwrap();
        machine.fill(&mut data, 101).unwrap();
        assert_eq!(
            machine.stream.synchronize(),
            illegal,
            "told where the program waits"
        );
        assert_eq!(machine.stream.synchronize(), illegal, "and for ever after");
        assert_eq!(machine.stream.clone_dtoh(&data).map(|_| ()), illegal);
        assert_eq!(machine.stream.alloc_zeros::<f32>(1).map(|_| ()), illegal);
        assert_eq!(machine.fill(&mut data, 100), illegal);
        let message = Inspection::open().unwrap().last_message().unwrap();
        for part in [
            "kernel fill",
            "write of 4 bytes out of bounds of global memory",
            "lane 4",
            "PTX line",
        ] {
            assert!(message.contains(part), "`{part}` is missing in: {message}");
        }
    });
    if let Isolated::Parent { output } = outcome.unwrap() {
        assert!(
            output.contains("himuon emulated driver: kernel fill"),
            "{output}"
        );
    }
}

#[test]
fn a_misaligned_access_has_its_own_code() {
    let code = CUresult::CUDA_ERROR_MISALIGNED_ADDRESS;
    faulty(
        "a_misaligned_access_has_its_own_code",
        "misaligned",
        code,
        &[],
    );
}

#[test]
fn a_trap_is_a_failed_launch() {
    faulty(
        "a_trap_is_a_failed_launch",
        "trap",
        CUresult::CUDA_ERROR_LAUNCH_FAILED,
        &[],
    );
}

#[test]
fn an_endless_kernel_times_out() {
    let limit = [("HIMUON_EMULATOR_INSTRUCTION_LIMIT", "10000")];
    faulty(
        "an_endless_kernel_times_out",
        "endless",
        CUresult::CUDA_ERROR_LAUNCH_TIMEOUT,
        &limit,
    );
}

/// Hardware would run this and give wrong numbers now and then; the emulator refuses it.
#[test]
fn a_race_is_a_failed_launch() {
    let code = CUresult::CUDA_ERROR_LAUNCH_FAILED;
    if let Some(output) = faulty("a_race_is_a_failed_launch", "race", code, &[]) {
        assert!(output.contains("shared-memory race"), "{output}");
    }
}

#[test]
fn a_fault_stays_on_its_device() {
    let devices = [("HIMUON_EMULATOR_DEVICES", "sm_80;sm_80")];
    isolated("a_fault_stays_on_its_device", &devices, || {
        let machine = machine();
        let mut data = machine.stream.alloc_zeros::<f32>(64).unwrap();
        machine.launch("trap", &mut data).unwrap();
        let failed = Err(error(CUresult::CUDA_ERROR_LAUNCH_FAILED));
        assert_eq!(machine.stream.synchronize(), failed);
        let other = CudaContext::new(1).unwrap().new_stream().unwrap();
        let numbers = other.clone_htod(&[1, 2, 3]).unwrap();
        assert_eq!(other.clone_dtoh(&numbers).unwrap(), [1, 2, 3]);
    })
    .unwrap();
}

/// The planted mistake: memory is freed in one stream while another, which nothing orders before, is still to read it.
#[test]
fn memory_freed_before_its_last_use_is_an_illegal_address() {
    let test = "memory_freed_before_its_last_use_is_an_illegal_address";
    isolated(test, &[("HIMUON_EMULATOR_DEVICES", "sm_80;sm_90")], || {
        let context = CudaContext::new(1).unwrap();
        let [reader, owner] = [(); 2].map(|()| context.new_stream().unwrap());
        // SAFETY: two live blocks; that the first is freed too early is what is tested.
        unsafe {
            let block = result::malloc_async(owner.cu_stream(), 16).unwrap();
            let copy = result::malloc_sync(16).unwrap();
            result::memcpy_dtod_async(copy, block, 16, reader.cu_stream()).unwrap();
            result::free_async(block, owner.cu_stream()).unwrap();
        }
        owner.synchronize().unwrap();
        let illegal = Err(error(CUresult::CUDA_ERROR_ILLEGAL_ADDRESS));
        assert_eq!(reader.synchronize(), illegal);
        let message = Inspection::open().unwrap().last_message().unwrap();
        assert!(
            message.contains("16-byte allocation") && message.contains("freed"),
            "{message}"
        );
    })
    .unwrap();
}

#[test]
fn the_planned_allocation_fails_and_no_other() {
    let plan = [("HIMUON_EMULATOR_FAIL", "allocation:2")];
    isolated("the_planned_allocation_fails_and_no_other", &plan, || {
        let stream = CudaContext::new(0).unwrap().new_stream().unwrap();
        let outcomes = [(); 3].map(|()| stream.alloc_zeros::<u8>(16).map(|_| ()));
        let refused = Err(error(CUresult::CUDA_ERROR_OUT_OF_MEMORY));
        assert_eq!(outcomes, [Ok(()), refused, Ok(())]);
    })
    .unwrap();
}

#[test]
fn the_planned_module_load_fails() {
    let plan = [("HIMUON_EMULATOR_FAIL", "module:1")];
    isolated("the_planned_module_load_fails", &plan, || {
        let machine = machine();
        let load = || machine.context.load_module(machine.ptx.clone()).map(|_| ());
        assert_eq!(load(), Err(error(CUresult::CUDA_ERROR_OUT_OF_MEMORY)));
        assert_eq!(load(), Ok(()));
    })
    .unwrap();
}

/// A refused submission leaves the context usable: the launch did not happen, everything else goes on.
#[test]
fn the_planned_submission_is_refused() {
    let plan = [("HIMUON_EMULATOR_FAIL", "submission:2")];
    isolated("the_planned_submission_is_refused", &plan, || {
        let machine = machine();
        let mut data = machine.stream.alloc_zeros::<f32>(8).unwrap();
        machine.fill(&mut data, 2).unwrap();
        let refused = Err(error(CUresult::CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES));
        assert_eq!(machine.fill(&mut data, 8), refused);
        let seen = machine.stream.clone_dtoh(&data).unwrap();
        assert_eq!(seen, [1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        machine.fill(&mut data, 4).unwrap();
        machine.stream.synchronize().unwrap();
    })
    .unwrap();
}

/// The n-th launch faults while it executes, launches of a graph counted like any other.
#[test]
fn the_planned_launch_faults_inside_a_graph() {
    let plan = [("HIMUON_EMULATOR_FAIL", "launch:3")];
    isolated("the_planned_launch_faults_inside_a_graph", &plan, || {
        let machine = machine();
        let mut data = machine.stream.alloc_zeros::<f32>(8).unwrap();
        machine.stream.synchronize().unwrap();
        let function = machine.context.load_module(machine.ptx.clone()).unwrap();
        let function = function.load_function("fill").unwrap();
        // SAFETY: one stream does everything; cudarc's events would reach out of the capture.
        unsafe { machine.context.disable_event_tracking() };
        let mode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        machine.stream.begin_capture(mode).unwrap();
        for length in [4_u32, 8] {
            let mut launch = machine.stream.launch_builder(&function);
            launch.arg(&mut data).arg(&length);
            // SAFETY: the arguments match the kernel's parameters.
            unsafe { launch.launch(LaunchConfig::for_num_elems(length)) }.unwrap();
        }
        let graph = machine
            .stream
            .end_capture(CUgraphInstantiate_flags(0))
            .unwrap()
            .unwrap();
        graph.launch().unwrap();
        machine.stream.synchronize().unwrap();
        graph.launch().unwrap();
        let failed = Err(error(CUresult::CUDA_ERROR_LAUNCH_FAILED));
        assert_eq!(machine.stream.synchronize(), failed);
        let message = Inspection::open().unwrap().last_message().unwrap();
        assert_eq!(message, "kernel fill: launch 3 was told to fail");
    })
    .unwrap();
}
