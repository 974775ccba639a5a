//! Building on a CUDA device.

use std::ffi::{c_char, c_void};

use himuon::cuda::{self, CudaBackend};

use crate::builder::{Builder, builder_at, taken};
use crate::optimizer::Optimizer;
use crate::place::{OnDevice, Place, keep_current};
use crate::status::{Failure, Status, guarded};
use crate::text::borrowed;

/// `CU_STREAM_PER_THREAD`.
const PER_THREAD: usize = 2;

/// Kernels that were compiled elsewhere, in preference to those of the cache and of NVRTC: those in `folder`, which
/// `himuon emit --complete --out FOLDER` has filled for the device's architecture (with `--row-normalised`, where rows are).
/// Called again, it adds to them. Each call's stay in memory for as long as the process runs. Without effect on the CPU.
///
/// # Safety
/// `builder` is a builder, `folder` ends with a zero.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn himuon_builder_kernels(
    builder: *mut Builder,
    folder: *const c_char,
) -> Status {
    guarded(|| {
        // SAFETY: the caller's word.
        let (builder, folder) = unsafe { (builder_at(builder)?, borrowed(folder, "the folder")?) };
        builder.kernels.push(cuda::read_bundles(folder)?);
        Ok(())
    })
}

/// Builds the optimizer on the CUDA device of this number and puts it into `optimizer`, or null if it fails. The builder is freed in any case.
///
/// `stream` is a `CUstream` or `cudaStream_t` of the device's primary context, which is the context of CUDA's runtime; null
/// is the legacy default stream. It outlives the optimizer. Tensors of steps are addresses on this device; what a step does
/// is submitted to the stream, in the order of whatever else is submitted there, and not waited for.
///
/// Nothing of CUDA is needed before this call: the driver (12.0 or newer) is looked up here, NVRTC when a step needs a kernel
/// that the cache does not hold. What the kernels of CUDA do not do, as criteria that look at whole matrices and `min_gap`, is refused here.
/// No call on an optimizer changes what context is current for the calling thread, and with it the device of CUDA's runtime.
///
/// # Safety
/// `builder` is a builder, which is not used after this; `stream` is null or a stream as said; `optimizer` points to a place
/// for a handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn himuon_build_cuda(
    builder: *mut Builder,
    ordinal: usize,
    stream: *mut c_void,
    optimizer: *mut *mut Optimizer,
) -> Status {
    guarded(|| {
        // SAFETY: the caller's word.
        let (builder, place) = unsafe { taken(builder, optimizer)? };
        let _current = keep_current()?;
        if stream as usize == PER_THREAD {
            return Err(Failure::argument(
                "the stream is the per-thread default stream, which is another one in each thread; pass null or a stream that \
                 was created",
            ));
        }
        let context = cuda::open(ordinal)?;
        // SAFETY: of this context and alive by the caller's word, who also orders work on it.
        let stream = unsafe { context.wrap_borrowed_stream(stream.cast()) };
        let kernels = builder.kernels.into_iter();
        let backend = kernels.fold(CudaBackend::new(&stream)?, CudaBackend::kernels);
        let built = builder.declared.build_on(Box::new(backend))?;
        let built = Place::Device(OnDevice::new(built, stream));
        *place = Box::into_raw(Box::new(Optimizer::new(built)));
        Ok(())
    })
}
