//! Execution of blocks, warps and lanes, with every check.

use crate::device::{Device, Launch, LoadedModule};
use crate::{Counters, Fault, FaultKind, Site};

pub(crate) fn launch(
    _device: &Device,
    module: &LoadedModule,
    launch: &Launch<'_>,
) -> Result<Counters, Fault> {
    let available = module
        .module()
        .kernels()
        .map(|kernel| kernel.name())
        .collect::<Vec<_>>()
        .join(", ");
    Err(Fault {
        kind: FaultKind::UnknownKernel { available },
        site: Box::new(Site {
            kernel: launch.kernel.to_owned(),
            ..Site::default()
        }),
    })
}
