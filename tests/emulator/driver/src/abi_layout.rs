//! The structures of [`crate::abi`] have the layout of `cuda.h`, as the bindings of cudarc record it.

use std::mem::{align_of, offset_of, size_of};

use cudarc::driver::sys;

use crate::abi::{
    KernelNodeParams, LaunchAttribute, LaunchConfig, Memcpy2D, Memcpy2DSide, MemsetNodeParams,
    PoolProperties, UpdateResult,
};
use crate::handle::Handle;

macro_rules! same_offsets {
    ($ours:ty, $theirs:ty: $($our_field:ident = $their_field:ident),+) => {
        $(assert_eq!(
            offset_of!($ours, $our_field),
            offset_of!($theirs, $their_field),
            stringify!($our_field)
        );)+
    };
}

#[test]
fn handles_are_pointers() {
    assert_eq!(size_of::<Handle<()>>(), size_of::<sys::CUcontext>());
    assert_eq!(align_of::<Handle<()>>(), align_of::<sys::CUcontext>());
}

#[test]
fn launch_configurations() {
    assert_eq!(size_of::<LaunchConfig>(), size_of::<sys::CUlaunchConfig>());
    same_offsets!(LaunchConfig, sys::CUlaunchConfig:
        grid = gridDimX, block = blockDimX, shared_bytes = sharedMemBytes, stream = hStream,
        attributes = attrs, attribute_count = numAttrs);
    assert_eq!(
        size_of::<LaunchAttribute>(),
        size_of::<sys::CUlaunchAttribute>()
    );
    same_offsets!(LaunchAttribute, sys::CUlaunchAttribute: id = id, value = value);
}

#[test]
fn node_parameters() {
    assert_eq!(
        size_of::<KernelNodeParams>(),
        size_of::<sys::CUDA_KERNEL_NODE_PARAMS>()
    );
    same_offsets!(KernelNodeParams, sys::CUDA_KERNEL_NODE_PARAMS:
        function = func, grid = gridDimX, block = blockDimX, shared_bytes = sharedMemBytes,
        parameters = kernelParams, extra = extra, kernel = kern, context = ctx);
    assert_eq!(
        size_of::<MemsetNodeParams>(),
        size_of::<sys::CUDA_MEMSET_NODE_PARAMS>()
    );
    same_offsets!(MemsetNodeParams, sys::CUDA_MEMSET_NODE_PARAMS:
        destination = dst, pitch = pitch, value = value, element_bytes = elementSize,
        width = width, height = height);
}

#[test]
fn copies_of_rows() {
    assert_eq!(size_of::<Memcpy2D>(), size_of::<sys::CUDA_MEMCPY2D>());
    same_offsets!(Memcpy2D, sys::CUDA_MEMCPY2D:
        source = srcXInBytes, destination = dstXInBytes, width_bytes = WidthInBytes, height = Height);
    // The source comes first, so that its fields lie where those of one side do.
    same_offsets!(Memcpy2DSide, sys::CUDA_MEMCPY2D:
        x_bytes = srcXInBytes, y = srcY, memory_type = srcMemoryType, host = srcHost, device = srcDevice,
        array = srcArray, pitch = srcPitch);
}

#[test]
fn results_and_properties() {
    assert_eq!(
        size_of::<UpdateResult>(),
        size_of::<sys::CUgraphExecUpdateResultInfo>()
    );
    same_offsets!(UpdateResult, sys::CUgraphExecUpdateResultInfo:
        result = result, error_node = errorNode, error_from_node = errorFromNode);
    assert!(size_of::<PoolProperties>() <= size_of::<sys::CUmemPoolProps>());
    same_offsets!(PoolProperties, sys::CUmemPoolProps:
        allocation_type = allocType, handle_types = handleTypes, location_type = location);
    let location_id =
        offset_of!(sys::CUmemPoolProps, location) + offset_of!(sys::CUmemLocation, id);
    assert_eq!(offset_of!(PoolProperties, location_id), location_id);
}
