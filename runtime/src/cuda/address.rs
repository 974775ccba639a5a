//! Whose memory an address is: for bindings, which get bare addresses.

use cudarc::driver::CudaContext;
use cudarc::driver::sys::{
    CUdevice_attribute_enum as Attribute, CUmemorytype, CUpointer_attribute as PointerAttribute,
};

use super::driver::pointer_attribute;
use super::error::CudaError;

/// Whether the device reads the host's memory by the host's page tables, as beside Grace processors: any address of the host
/// is one of the device then, and a copy need not stage what it reads.
pub(super) fn reads_pageable_memory(context: &CudaContext) -> bool {
    let shares_tables = Attribute::CU_DEVICE_ATTRIBUTE_PAGEABLE_MEMORY_ACCESS_USES_HOST_PAGE_TABLES;
    context.attribute(shares_tables) == Ok(1)
}

/// Refuses an address that the device's kernels cannot use, before they fault and take the device with them: one of this
/// process's own memory, or of another device's. Managed and page-locked memory is every device's. Where a device uses the
/// host's page tables, as on Grace, only other devices' memory is refused; where it could read all memory by faults alone
/// (heterogeneous memory management), the process's own is refused, since every access would cross the bus.
///
/// It asks the driver, which takes about a microsecond.
///
/// # Errors
/// [`CudaError::Elsewhere`]; the driver fails.
pub fn check_address(context: &CudaContext, address: u64) -> Result<(), CudaError> {
    let action = "asking whose memory an address is";
    context.bind_to_thread().map_err(CudaError::call(action))?;
    let expected = context.ordinal();
    let elsewhere = |found: String| CudaError::Elsewhere {
        address,
        found,
        expected,
    };
    let ask = |which| pointer_attribute(address, which);
    let Some(kind) = ask(PointerAttribute::CU_POINTER_ATTRIBUTE_MEMORY_TYPE)? else {
        return match reads_pageable_memory(context) {
            true => Ok(()),
            false => Err(elsewhere("no memory that CUDA knows".to_owned())),
        };
    };
    if kind != CUmemorytype::CU_MEMORYTYPE_DEVICE as u32
        || ask(PointerAttribute::CU_POINTER_ATTRIBUTE_IS_MANAGED)?.is_some_and(|is| is != 0)
    {
        return Ok(());
    }
    match ask(PointerAttribute::CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL)? {
        Some(found) if found as usize != expected => {
            Err(elsewhere(format!("in the memory of CUDA device {found}")))
        }
        _ => Ok(()),
    }
}
