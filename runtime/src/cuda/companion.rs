//! The launches beside the tile kernels: AdamW of all tensors, the search for non-finite numbers.

use std::sync::Arc;

use cudarc::driver::{CudaFunction, CudaStream};
use himuon_codegen::compile::Part;
use himuon_codegen::render::{Companion as Settings, Rendered, companion};

use super::driver::{Argument, DeviceMemory, Shape, launch};
use super::error::CudaError;
use super::kernel::function;
use super::module::Loader;
use super::table::{
    ADAMW_GROUP_BYTES, AdamWEntry, DeviceTable, GROUPS_WITH_ROOM, Groups, write_adamw_group,
    write_scanned,
};
use super::tensor::Extent;
use crate::backend::BackendError;
use crate::launch::{AdamWScalars, AdamWTensor};
use crate::memory::Memory;

use super::memory::Device;

/// Words of the clock before those of the phases; see `lib/step_clock.cuh`.
pub(super) const CLOCK_STEP: usize = 0;
pub(super) const CLOCK_UPDATE: usize = 1;
pub(super) const CLOCK_PAST_END: usize = 2;
pub(super) const CLOCK_PHASES: usize = 4;

/// Where the device finds what gradients were multiplied by, as f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GradientScale {
    /// One over the factor.
    pub(super) inverse: u64,
    /// Not 0 when a gradient of this step is not finite; 0 in place of an address: not known.
    pub(super) found_non_finite: u64,
}

/// Which phase runs at which step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PhaseTable {
    /// One word for each step; 0 in place of an address: phase 0 at every step.
    pub(super) phases: u64,
    pub(super) first_step: u32,
    pub(super) end_step: u32,
    pub(super) phase_count: u32,
    /// Whether the clock moves on.
    pub(super) advances: bool,
}

/// The companion's kernels.
#[derive(Debug)]
pub(super) struct Companion {
    settings: Settings,
    adamw: CudaFunction,
    finite: CudaFunction,
    begin: CudaFunction,
    unscale: CudaFunction,
    scan: Scan,
}

/// What a search for non-finite numbers reads and writes, kept from one to the next.
#[derive(Debug, Default)]
struct Scan {
    tensors: DeviceTable,
    /// One word for each tensor, and those of a search of more tensors before.
    flags: Option<DeviceMemory>,
}

impl Scan {
    /// The flags of `count` tensors, all of them 0 in the order of the stream.
    fn cleared_flags(
        &mut self,
        stream: &Arc<CudaStream>,
        count: usize,
    ) -> Result<&DeviceMemory, BackendError> {
        let bytes = 4 * count;
        let flags = match self.flags.take().filter(|flags| flags.bytes() >= bytes) {
            Some(flags) => {
                flags.set(0)?;
                flags
            }
            None => DeviceMemory::zeroed(stream, bytes, "flags of scanned tensors")?,
        };
        Ok(self.flags.insert(flags))
    }
}

impl Companion {
    /// The text that they are made of, all of it.
    pub(super) fn text() -> Result<(Rendered, Part), CudaError> {
        Ok((companion(&Settings::default())?, Part::All))
    }

    pub(super) fn load(loader: Loader<'_>) -> Result<Self, CudaError> {
        let settings = Settings::default();
        let (text, part) = Self::text()?;
        let module = loader.load(&text, part)?;
        Ok(Companion {
            settings,
            adamw: function(&module, "himuon_adamw", 0)?,
            finite: function(&module, "himuon_finite", 0)?,
            begin: function(&module, "himuon_begin", 0)?,
            unscale: function(&module, "himuon_unscale", 0)?,
            scan: Scan::default(),
        })
    }

    fn shape(&self, blocks: u32) -> Shape {
        Shape {
            blocks,
            threads: self.settings.threads,
            shared_bytes: 0,
        }
    }

    /// Blocks for tensors of these lengths: the first block of each, and all of them.
    fn blocks(&self, lengths: impl Iterator<Item = usize>) -> Result<(Vec<u32>, u32), CudaError> {
        let size = self.settings.numbers_of_block();
        let mut firsts = Vec::new();
        let mut total: u64 = 0;
        for length in lengths {
            firsts.push(total as u32);
            total += (length as u64).div_ceil(size);
        }
        match i32::try_from(total) {
            Ok(_) => Ok((firsts, total as u32)),
            Err(_) => Err(CudaError::Layout {
                id: "companion".to_owned(),
                reason: format!("{total} blocks of {size} numbers in one launch"),
            }),
        }
    }

    /// For each tensor whether all its numbers are finite. Waits for the device. Allocates where there are more tensors
    /// than ever before, and writes their table where one of them has changed.
    pub(super) fn all_finite(
        &mut self,
        stream: &Arc<CudaStream>,
        tensors: &[Extent],
    ) -> Result<Vec<bool>, BackendError> {
        let (firsts, blocks) = self.blocks(tensors.iter().map(Extent::len))?;
        if blocks == 0 {
            return Ok(vec![true; tensors.len()]);
        }
        let mut image = Vec::new();
        for (extent, first) in tensors.iter().zip(firsts) {
            write_scanned(&mut image, *extent, extent.rows as u32, first);
        }
        let shape = self.shape(blocks);
        let table = &mut self.scan.tensors;
        table.update(stream, image, 0, "the table of scanned tensors")?;
        let table = table.pointer();
        let flags = self.scan.cleared_flags(stream, tensors.len())?;
        let arguments = [
            Argument::Pointer(table),
            Argument::Word(tensors.len() as u32),
            Argument::Pointer(flags.pointer()),
        ];
        launch(stream, &self.finite, shape, &arguments)?;
        let mut bytes = vec![0; 4 * tensors.len()];
        flags.read(0, &mut bytes)?;
        Ok(bytes.chunks_exact(4).map(|word| word == [0; 4]).collect())
    }

    /// Submits the launch that decides on the device what of a step runs.
    pub(super) fn begin(
        &self,
        stream: &CudaStream,
        clock: &DeviceMemory,
        steps: &PhaseTable,
        scale: Option<GradientScale>,
    ) -> Result<(), CudaError> {
        let arguments = [
            Argument::Pointer(clock.pointer()),
            Argument::Pointer(steps.phases),
            Argument::Word(steps.first_step),
            Argument::Word(steps.end_step),
            Argument::Word(steps.phase_count),
            Argument::Pointer(scale.map_or(0, |scale| scale.found_non_finite)),
            Argument::Word(u32::from(steps.advances)),
        ];
        launch(stream, &self.begin, self.shape(1), &arguments)
    }

    /// Submits the launch that takes the scale of the gradients out of a table of groups.
    pub(super) fn unscale(
        &self,
        stream: &CudaStream,
        groups: u64,
        unscaled: u64,
        count: u32,
        scale: GradientScale,
    ) -> Result<(), CudaError> {
        let arguments = [
            Argument::Pointer(groups),
            Argument::Pointer(unscaled),
            Argument::Word(count),
            Argument::Pointer(scale.inverse),
        ];
        launch(stream, &self.unscale, self.shape(1), &arguments)
    }
}

/// The tables of the element-wise update.
#[derive(Debug, Default)]
pub(super) struct AdamWTables {
    tensors: DeviceTable,
    groups: DeviceTable,
    count: u32,
    blocks: u32,
    /// The update number that the tensors' offsets count from.
    pub(super) updates: u32,
}

impl AdamWTables {
    /// Writes what has changed.
    pub(super) fn bind(
        &mut self,
        companion: &Companion,
        stream: &Arc<CudaStream>,
        tensors: &[AdamWTensor<'_, Device>],
    ) -> Result<bool, BackendError> {
        let lengths = tensors
            .iter()
            .map(|tensor| Device::read(&tensor.weight).extent().len());
        let (firsts, blocks) = companion.blocks(lengths)?;
        self.updates = tensors
            .first()
            .map_or(0, |tensor| tensor.scalars.step as u32);
        let mut groups = Groups(Vec::new());
        let mut image = Vec::new();
        for (index, (tensor, first_block)) in tensors.iter().zip(firsts).enumerate() {
            let weight = contiguous(index, "weight", tensor.weight.extent())?;
            let gradient = contiguous(index, "gradient", tensor.gradient.extent())?;
            AdamWEntry {
                weight: weight.pointer,
                gradient: gradient.pointer,
                first_moment: tensor.first_moment.extent().pointer,
                second_moment: tensor.second_moment.extent().pointer,
                remainder: tensor
                    .remainder
                    .as_ref()
                    .map_or(0, |remainder| remainder.extent().pointer),
                length: weight.len() as u64,
                first_block,
                group: groups.place(AdamWScalars {
                    step: 0,
                    ..tensor.scalars
                }),
                element: weight.element,
                updates: (tensor.scalars.step as u32).wrapping_sub(self.updates),
            }
            .write(&mut image);
        }
        let mut group_image = Vec::new();
        for scalars in &groups.0 {
            write_adamw_group(&mut group_image, scalars);
        }
        self.count = tensors.len() as u32;
        self.blocks = blocks;
        let room = ADAMW_GROUP_BYTES * GROUPS_WITH_ROOM.min(tensors.len());
        let tensors = self
            .tensors
            .update(stream, image, 0, "the table of AdamW")?;
        let groups = self
            .groups
            .update(stream, group_image, room, "the groups of AdamW")?;
        Ok(tensors || groups)
    }

    /// From now on the tables stay where they are.
    pub(super) fn pin(&mut self) {
        self.tensors.pin();
        self.groups.pin();
    }

    /// Submits the update. `active` is the word that says whether it is to do anything; 0: it is.
    pub(super) fn submit(
        &self,
        companion: &Companion,
        stream: &CudaStream,
        clock: &DeviceMemory,
        counters: &DeviceMemory,
        active: u64,
        scale: Option<GradientScale>,
    ) -> Result<(), CudaError> {
        let arguments = [
            Argument::Pointer(self.tensors.pointer()),
            Argument::Word(self.count),
            Argument::Pointer(self.groups.pointer()),
            Argument::Pointer(clock.pointer()),
            Argument::Pointer(scale.map_or(0, |scale| scale.inverse)),
            Argument::Pointer(active),
            Argument::Word(1),
            Argument::Word(2),
            Argument::Pointer(counters.pointer()),
        ];
        launch(
            stream,
            &companion.adamw,
            companion.shape(self.blocks),
            &arguments,
        )
    }
}

fn contiguous(index: usize, tensor: &str, extent: Extent) -> Result<Extent, BackendError> {
    if extent.is_contiguous() {
        return Ok(extent);
    }
    Err(BackendError::Tensor {
        tensor: format!("{tensor} of the {index}th element-wise parameter"),
        reason: format!(
            "rows start {} numbers apart, expected {}; AdamW takes contiguous tensors",
            extent.leading, extent.columns
        ),
    })
}
