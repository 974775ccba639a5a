//! `cuGetProcAddress`: exported functions by name.

use std::ffi::{c_int, c_ulonglong, c_void};

use crate::abi::{Out, Status, Text, guard};
use crate::api::{
    context, device, error, event, function, graph, graph_node, host_memory, launch, memory,
    module, occupancy, pool, stream, transfer,
};
use crate::error::CudaError;

/// `CUdriverProcAddressQueryResult`.
const FOUND: c_int = 0;
const SYMBOL_NOT_FOUND: c_int = 1;

/// Exported functions: symbols and addresses.
macro_rules! entries {
    ($($area:ident: $($name:ident),+;)*) => {
        [$($((stringify!($name), $area::$name as *const c_void)),+),*]
    };
}

/// The newest version of a function; `name` is without the suffix of the version, as CUDA's programs ask for it, or
/// with it.
fn find(name: &str) -> Option<*const c_void> {
    let entries = entries! {
        context: cuDevicePrimaryCtxRetain, cuDevicePrimaryCtxRelease_v2, cuDevicePrimaryCtxReset_v2, cuDevicePrimaryCtxGetState, cuDevicePrimaryCtxSetFlags_v2, cuCtxCreate_v2, cuCtxCreate_v4, cuCtxDestroy_v2, cuCtxGetCurrent, cuCtxSetCurrent, cuCtxPushCurrent_v2, cuCtxPopCurrent_v2, cuCtxGetDevice, cuCtxGetId, cuCtxGetApiVersion, cuCtxSynchronize, cuCtxGetFlags, cuCtxSetFlags, cuCtxGetLimit, cuCtxSetLimit, cuCtxGetCacheConfig, cuCtxSetCacheConfig, cuCtxGetStreamPriorityRange, cuCtxEnablePeerAccess, cuCtxDisablePeerAccess;
        device: cuInit, cuDriverGetVersion, cuDeviceGetCount, cuDeviceGet, cuDeviceGetName, cuDeviceTotalMem_v2, cuDeviceComputeCapability, cuDeviceGetUuid_v2, cuDeviceGetUuid, cuDeviceGetPCIBusId, cuDeviceCanAccessPeer, cuDeviceGetAttribute;
        error: cuGetErrorName, cuGetErrorString;
        event: cuEventCreate, cuEventDestroy_v2, cuEventRecord, cuEventRecordWithFlags, cuEventSynchronize, cuEventQuery, cuEventElapsedTime, cuEventElapsedTime_v2;
        function: cuFuncGetAttribute, cuFuncSetAttribute, cuFuncSetCacheConfig, cuFuncGetModule, cuFuncGetName, cuFuncGetParamInfo;
        graph: cuGraphCreate, cuGraphDestroy, cuGraphInstantiateWithFlags, cuGraphExecDestroy, cuGraphLaunch, cuGraphUpload, cuGraphExecUpdate_v2, cuGraphGetNodes, cuGraphGetRootNodes;
        graph_node: cuGraphAddKernelNode_v2, cuGraphAddMemsetNode, cuGraphAddEmptyNode, cuGraphNodeGetType, cuGraphNodeGetDependencies, cuGraphNodeGetDependencies_v2, cuGraphKernelNodeGetParams_v2, cuGraphKernelNodeSetParams_v2, cuGraphExecKernelNodeSetParams_v2, cuGraphMemsetNodeGetParams, cuGraphExecMemsetNodeSetParams, cuGraphNodeSetEnabled, cuGraphNodeGetEnabled;
        host_memory: cuMemHostAlloc, cuMemAllocHost_v2, cuMemFreeHost, cuMemHostRegister_v2, cuMemHostUnregister, cuMemHostGetFlags, cuMemHostGetDevicePointer_v2;
        launch: cuLaunchKernel, cuLaunchKernelEx, cuLaunchCooperativeKernel;
        memory: cuMemAlloc_v2, cuMemAllocPitch_v2, cuMemAllocManaged, cuMemFree_v2, cuMemAllocAsync, cuMemAllocFromPoolAsync, cuMemFreeAsync, cuMemGetInfo_v2, cuMemGetAddressRange_v2, cuPointerGetAttribute;
        module: cuModuleLoadData, cuModuleLoadDataEx, cuModuleLoadFatBinary, cuModuleLoad, cuModuleUnload, cuModuleGetFunction, cuModuleGetFunctionCount, cuModuleEnumerateFunctions, cuModuleGetGlobal_v2, cuModuleGetLoadingMode, cuGetExportTable;
        occupancy: cuOccupancyMaxActiveBlocksPerMultiprocessor, cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags, cuOccupancyAvailableDynamicSMemPerBlock, cuOccupancyMaxPotentialBlockSize, cuOccupancyMaxPotentialBlockSizeWithFlags;
        pool: cuDeviceGetDefaultMemPool, cuDeviceGetMemPool, cuDeviceSetMemPool, cuMemPoolCreate, cuMemPoolDestroy, cuMemPoolTrimTo, cuMemPoolGetAttribute, cuMemPoolSetAttribute;
        stream: cuStreamCreate, cuStreamCreateWithPriority, cuStreamDestroy_v2, cuStreamSynchronize, cuStreamQuery, cuStreamWaitEvent, cuLaunchHostFunc, cuStreamGetFlags, cuStreamGetPriority, cuStreamGetId, cuStreamGetCtx, cuStreamGetDevice, cuStreamAttachMemAsync, cuStreamBeginCapture_v2, cuStreamEndCapture, cuStreamIsCapturing, cuStreamGetCaptureInfo_v2;
        transfer: cuMemcpyHtoD_v2, cuMemcpyHtoDAsync_v2, cuMemcpyDtoH_v2, cuMemcpyDtoHAsync_v2, cuMemcpyDtoD_v2, cuMemcpyDtoDAsync_v2, cuMemcpy2DAsync_v2, cuMemcpy, cuMemcpyAsync, cuMemcpyPeerAsync, cuMemcpyPeer, cuMemsetD8_v2, cuMemsetD8Async, cuMemsetD16_v2, cuMemsetD16Async, cuMemsetD32_v2, cuMemsetD32Async, cuMemsetD2D8Async, cuMemsetD2D32Async;
    };
    let own = [
        ("cuGetProcAddress", cuGetProcAddress as *const c_void),
        ("cuGetProcAddress_v2", cuGetProcAddress_v2 as *const c_void),
    ];
    entries
        .into_iter()
        .chain(own)
        .filter(|(symbol, _)| *symbol == name || without_version(symbol) == name)
        .max_by_key(|(symbol, _)| symbol.len())
        .map(|(_, address)| address)
}

/// `cuMemAlloc` of `cuMemAlloc_v2`.
fn without_version(symbol: &str) -> &str {
    match symbol.rsplit_once("_v") {
        Some((base, version)) if version.bytes().all(|byte| byte.is_ascii_digit()) => base,
        _ => symbol,
    }
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuGetProcAddress_v2(
    symbol: Text,
    address: Out<*const c_void>,
    _version: c_int,
    _flags: c_ulonglong,
    status: Out<c_int>,
) -> Status {
    guard(|| match find(&symbol.string()?) {
        Some(found) => {
            status.put_if_wanted(FOUND);
            address.put(found)
        }
        None => {
            status.put_if_wanted(SYMBOL_NOT_FOUND);
            address.put(std::ptr::null())?;
            Err(CudaError::NOT_FOUND)
        }
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuGetProcAddress(
    symbol: Text,
    address: Out<*const c_void>,
    version: c_int,
    flags: c_ulonglong,
) -> Status {
    cuGetProcAddress_v2(symbol, address, version, flags, Out::unwanted())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_version_gives_the_newest() {
        let newest = transfer::cuMemcpyHtoD_v2 as *const c_void;
        assert_eq!(find("cuMemcpyHtoD"), Some(newest));
        assert_eq!(find("cuMemcpyHtoD_v2"), Some(newest));
        assert_eq!(
            find("cuEventElapsedTime"),
            Some(event::cuEventElapsedTime_v2 as *const c_void)
        );
        assert_eq!(find("cuNoSuchFunction"), None);
    }
}
