//! Modules and functions: what loads, what is refused, attributes, occupancy, global variables.
#![allow(unsafe_code, clippy::unwrap_used)]

use std::sync::Arc;

use cudarc::driver::sys::{self, CUfunction_attribute as Attribute, CUresult};
use cudarc::driver::{CudaContext, CudaFunction, DriverError, LaunchConfig, PushKernelArg};
use cudarc::nvrtc::Ptx;
use himuon_toolkit::Toolkit;
use himuon_toolkit::emulated::{EmulatedDriver, isolated};

const SOURCE: &str = r#"
__device__ unsigned counter = 41;
extern "C" __global__ void __launch_bounds__(256) sum(float *out) {
    extern __shared__ float dynamic[];
    __shared__ float fixed[64];
    if (threadIdx.x < 64) fixed[threadIdx.x] = 0.0f;
    dynamic[threadIdx.x] = threadIdx.x;
    __syncthreads();
    if (threadIdx.x == 0) {
        float total = fixed[0];
        for (unsigned i = 0; i < blockDim.x; ++i) total += dynamic[i];
        *out = total;
        counter += 1;
    }
}
"#;

fn compile(arch: &str) -> Ptx {
    let toolkit = Toolkit::locate_or_install().unwrap();
    Ptx::from_src(toolkit.compile_ptx(SOURCE, arch, &[]).unwrap())
}

fn loaded() -> (Arc<CudaContext>, CudaFunction) {
    EmulatedDriver::build().unwrap().load().unwrap();
    let context = CudaContext::new(0).unwrap();
    let function = context
        .load_module(compile("sm_80"))
        .unwrap()
        .load_function("sum")
        .unwrap();
    (context, function)
}

fn error(code: CUresult) -> DriverError {
    DriverError(code)
}

#[test]
fn attributes_come_from_the_ptx() {
    let (_context, sum) = loaded();
    let attribute = |attribute| sum.get_attribute(attribute).unwrap();
    assert_eq!(
        attribute(Attribute::CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES),
        256
    );
    assert_eq!(
        attribute(Attribute::CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK),
        256
    );
    assert_eq!(attribute(Attribute::CU_FUNC_ATTRIBUTE_BINARY_VERSION), 80);
    assert_eq!(attribute(Attribute::CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES), 0);
    assert!((1..=64).contains(&attribute(Attribute::CU_FUNC_ATTRIBUTE_NUM_REGS)));
    let default_limit = (48 << 10) - 256;
    assert_eq!(
        attribute(Attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES),
        default_limit
    );
}

#[test]
fn shared_memory_past_the_default_must_be_asked_for() {
    let (context, sum) = loaded();
    let stream = context.new_stream().unwrap();
    let mut out = stream.alloc_zeros::<f32>(1).unwrap();
    let mut launch = |threads: u32, shared_mem_bytes| {
        let mut builder = stream.launch_builder(&sum);
        builder.arg(&mut out);
        let shape = LaunchConfig {
            grid_dim: (1, 1, 1),
            block_dim: (threads, 1, 1),
            shared_mem_bytes,
        };
        // SAFETY: the argument matches the kernel's parameter; too large a shape is refused.
        unsafe { builder.launch(shape) }.map(|_| ())
    };
    let raise = |bytes| {
        let limit = Attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        sum.set_attribute(limit, bytes)
    };
    let invalid = Err(error(CUresult::CUDA_ERROR_INVALID_VALUE));
    assert_eq!(
        launch(256, 48 << 10),
        invalid,
        "with the fixed part it is more than 48 KiB"
    );
    assert_eq!(
        raise(163 << 10),
        invalid,
        "with the fixed part it is more than 163 KiB"
    );
    raise((163 << 10) - 256).unwrap();
    launch(256, (163 << 10) - 256).unwrap();
    assert_eq!(
        launch(512, 4096),
        Err(error(CUresult::CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES))
    );
    assert_eq!(launch(2048, 4096), invalid);
    assert_eq!(launch(0, 4096), invalid);
    assert_eq!(
        stream.clone_dtoh(&out).unwrap(),
        [(0..256).sum::<i32>() as f32]
    );
}

/// 64 values live at once, and a declared block of 1024 threads: the compiler spills, so that the block can run.
#[test]
fn a_declared_block_always_has_its_registers() {
    EmulatedDriver::build().unwrap().load().unwrap();
    let source = r#"
extern "C" __global__ void __launch_bounds__(1024) greedy(float *data) {
    float kept[64];
    #pragma unroll
    for (int i = 0; i < 64; ++i) kept[i] = data[threadIdx.x + 1024 * i];
    __syncthreads();
    #pragma unroll
    for (int i = 0; i < 64; ++i) data[threadIdx.x + 1024 * i] = kept[63 - i];
}"#;
    let ptx = Toolkit::locate_or_install()
        .unwrap()
        .compile_ptx(source, "sm_80", &[])
        .unwrap();
    let context = CudaContext::new(0).unwrap();
    let greedy = context
        .load_module(Ptx::from_src(ptx))
        .unwrap()
        .load_function("greedy")
        .unwrap();
    assert_eq!(
        greedy.get_attribute(Attribute::CU_FUNC_ATTRIBUTE_NUM_REGS),
        Ok(64)
    );
    let stream = context.new_stream().unwrap();
    let numbers: Vec<f32> = (0..64).flat_map(|row| [row as f32; 1024]).collect();
    let mut data = stream.clone_htod(&numbers).unwrap();
    let mut launch = stream.launch_builder(&greedy);
    launch.arg(&mut data);
    let shape = LaunchConfig {
        grid_dim: (1, 1, 1),
        block_dim: (1024, 1, 1),
        shared_mem_bytes: 0,
    };
    // SAFETY: the argument matches the kernel's parameter and holds 64 x 1024 elements.
    unsafe { launch.launch(shape) }.unwrap();
    let reversed: Vec<f32> = numbers.iter().rev().copied().collect();
    assert!(stream.clone_dtoh(&data).unwrap() == reversed);
}

#[test]
fn occupancy_follows_shared_memory() {
    let (_context, sum) = loaded();
    let blocks = |shared| sum.occupancy_max_active_blocks_per_multiprocessor(256, shared, None);
    assert_eq!(blocks(0), Ok(8), "2048 threads");
    // 40 KiB, 256 bytes fixed, 1 KiB reserved: 164 / 41.25 = 3.97.
    assert_eq!(blocks(40 << 10), Ok(3));
    assert_eq!(blocks(163 << 10), Ok(0));
}

#[test]
fn a_name_that_is_not_there_is_not_found() {
    let (context, _) = loaded();
    let missing = context
        .load_module(compile("sm_80"))
        .unwrap()
        .load_function("product");
    assert_eq!(
        missing.map(|_| ()),
        Err(error(CUresult::CUDA_ERROR_NOT_FOUND))
    );
}

#[test]
fn a_global_variable_has_an_address_and_its_value() {
    let (context, _) = loaded();
    let module = context.load_module(compile("sm_80")).unwrap();
    let stream = context.default_stream();
    let counter = module.get_global("counter", &stream).unwrap();
    assert_eq!(counter.len(), 4);
    let value = stream.clone_dtoh(&counter).unwrap();
    assert_eq!(value, 41_u32.to_le_bytes());
}

#[test]
fn a_cubin_has_no_binary_for_an_emulator() {
    let (context, _) = loaded();
    let toolkit = Toolkit::locate_or_install().unwrap();
    let ptx = toolkit.compile_ptx(SOURCE, "sm_80", &[]).unwrap();
    let cubin = toolkit.assemble(&ptx, "sm_80").unwrap().cubin;
    context.bind_to_thread().unwrap();
    let mut module = std::ptr::null_mut();
    // SAFETY: the image lives during the call.
    let status = unsafe { sys::cuModuleLoadData(&mut module, cubin.as_ptr().cast()) };
    assert_eq!(status, CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU);
}

#[test]
fn text_that_is_not_ptx_is_refused_with_its_line() {
    let inspection = EmulatedDriver::build().unwrap().load().unwrap();
    let context = CudaContext::new(0).unwrap();
    let text =
        ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry k()\n{ frobnicate; }";
    let outcome = context.load_module(Ptx::from_src(text)).map(|_| ());
    assert_eq!(outcome, Err(error(CUresult::CUDA_ERROR_INVALID_PTX)));
    // Tests of this process share the last message.
    let message = inspection.last_message().unwrap();
    assert!(
        message.contains("line") || message.contains("sm_"),
        "{message}"
    );
}

#[test]
fn ptx_for_a_newer_device_is_refused() {
    let (context, _) = loaded();
    let outcome = context.load_module(compile("sm_90a")).map(|_| ());
    assert_eq!(outcome, Err(error(CUresult::CUDA_ERROR_INVALID_PTX)));
}

#[test]
fn ptx_of_a_newer_toolkit_is_refused_by_an_older_driver() {
    let version = [("HIMUON_EMULATOR_DRIVER_VERSION", "12.0")];
    isolated(
        "ptx_of_a_newer_toolkit_is_refused_by_an_older_driver",
        &version,
        || {
            let context = CudaContext::new(0).unwrap();
            let outcome = context.load_module(compile("sm_80")).map(|_| ());
            assert_eq!(
                outcome,
                Err(error(CUresult::CUDA_ERROR_UNSUPPORTED_PTX_VERSION))
            );
        },
    )
    .unwrap();
}
