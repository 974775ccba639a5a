//! The scalars of the groups of a chunk, on the device.

use std::sync::Arc;

use cudarc::driver::CudaStream;

use super::companion::{Companion, GradientScale};
use super::driver::DeviceMemory;
use super::error::CudaError;
use super::table::{DeviceTable, GROUP_BYTES, GROUPS_WITH_ROOM, Groups, write_group};
use crate::backend::BackendError;
use crate::launch::GroupScalars;

/// A table of groups, and its copy without the scale of the gradients where they have one.
#[derive(Debug, Default)]
pub(super) struct BoundGroups {
    groups: DeviceTable,
    count: u32,
    /// The groups without the scale of the gradients, which a launch writes.
    unscaled: Option<DeviceMemory>,
}

impl BoundGroups {
    /// Writes the table if it has changed, for at most `matrices` groups; says whether it had.
    pub(super) fn bind(
        &mut self,
        stream: &Arc<CudaStream>,
        groups: &Groups<GroupScalars>,
        matrices: usize,
        scaled: bool,
    ) -> Result<bool, BackendError> {
        let mut image = Vec::new();
        for scalars in &groups.0 {
            write_group(&mut image, scalars);
        }
        self.count = groups.0.len() as u32;
        let room = GROUP_BYTES * GROUPS_WITH_ROOM.min(matrices);
        let written = self
            .groups
            .update(stream, image, room, "the table of groups")?;
        // As long as the table of groups, which has refused to grow by now if a graph holds either address.
        let bytes = GROUP_BYTES * self.count as usize;
        let held = self.unscaled.as_ref().map_or(0, DeviceMemory::bytes);
        if scaled && held < bytes {
            let memory = DeviceMemory::zeroed(stream, room.max(bytes), "groups without scale")?;
            self.unscaled = Some(memory);
        }
        Ok(written)
    }

    /// From now on the table stays where it is.
    pub(super) fn pin(&mut self) {
        self.groups.pin();
    }

    /// What launches read.
    pub(super) fn pointer(&self) -> u64 {
        self.unscaled
            .as_ref()
            .map_or(self.groups.pointer(), DeviceMemory::pointer)
    }

    /// Submits the launch that takes the scale of the gradients out.
    pub(super) fn unscale(
        &self,
        companion: &Companion,
        stream: &CudaStream,
        scale: GradientScale,
    ) -> Result<(), CudaError> {
        let Some(unscaled) = &self.unscaled else {
            return Ok(());
        };
        companion.unscale(
            stream,
            self.groups.pointer(),
            unscaled.pointer(),
            self.count,
            scale,
        )
    }
}
