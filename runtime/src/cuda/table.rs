//! The tables that kernels read: how an entry lies in memory, and their copies on the device, which are written
//! again only when something in them has changed.

use std::sync::Arc;

use cudarc::driver::CudaStream;
use himuon_templates::Element;

use super::driver::DeviceMemory;
use super::tensor::Extent;
use crate::backend::BackendError;
use crate::launch::{AdamWScalars, GroupScalars, ScaleRule};

/// Bytes of a matrix's entry.
pub(super) const MATRIX_BYTES: usize = 64;
/// Bytes more with master weights: the address of the remainders, and nothing up to a multiple of 16.
pub(super) const REMAINDER_BYTES: usize = 16;
/// Bytes of a group's entry.
pub(super) const GROUP_BYTES: usize = 32;
/// Bytes of a group's entry of AdamW.
pub(super) const ADAMW_GROUP_BYTES: usize = 32;
/// Groups whose scalars agree share an entry until they part; so many find room in the table where it lies.
pub(super) const GROUPS_WITH_ROOM: usize = 64;
/// Bytes of what a kernel reports of a tile.
pub(super) const REPORT_BYTES: usize = 16;

/// Entries are written field by field, low byte first, as `lib/launch.cuh` and its neighbours declare them.
pub(super) trait Fields {
    fn word(&mut self, value: u32) -> &mut Self;
    fn long(&mut self, value: u64) -> &mut Self;
    fn number(&mut self, value: f32) -> &mut Self;
}

impl Fields for Vec<u8> {
    fn word(&mut self, value: u32) -> &mut Self {
        self.extend(value.to_le_bytes());
        self
    }

    fn long(&mut self, value: u64) -> &mut Self {
        self.extend(value.to_le_bytes());
        self
    }

    fn number(&mut self, value: f32) -> &mut Self {
        self.word(value.to_bits())
    }
}

/// A matrix of a launch.
#[derive(Clone, Copy, Debug)]
pub(super) struct MatrixEntry {
    pub(super) gradient: u64,
    pub(super) momentum: u64,
    pub(super) weight: u64,
    pub(super) mapped: u64,
    pub(super) rows: u32,
    pub(super) columns: u32,
    pub(super) gradient_leading: u32,
    pub(super) weight_leading: u32,
    pub(super) first_tile: u32,
    pub(super) group: u32,
    /// With master weights; 0 where the map alone is wanted.
    pub(super) remainder: Option<u64>,
}

impl MatrixEntry {
    pub(super) fn write(&self, table: &mut Vec<u8>) {
        for pointer in [self.gradient, self.momentum, self.weight, self.mapped] {
            table.long(pointer);
        }
        for word in [
            self.rows,
            self.columns,
            self.gradient_leading,
            self.weight_leading,
            self.first_tile,
            self.group,
        ] {
            table.word(word);
        }
        // `factor` and `largest` are the kernels' own.
        table.long(0);
        if let Some(remainder) = self.remainder {
            table.long(remainder).long(0);
        }
    }
}

pub(super) fn write_group(table: &mut Vec<u8>, scalars: &GroupScalars) {
    let rule = match scalars.scale {
        ScaleRule::Exact => 0,
        ScaleRule::Paper => 1,
        ScaleRule::Original => 2,
        ScaleRule::MatchRmsAdamW => 3,
        ScaleRule::None => 4,
    };
    for value in [
        scalars.learning_rate,
        scalars.weight_decay,
        scalars.mu,
        scalars.c,
        scalars.alpha,
        scalars.beta,
        scalars.scale_factor,
    ] {
        table.number(value);
    }
    table.word(rule);
}

/// Numbers of the storage types in tables of mixed tensors.
pub(super) fn element_code(element: Element) -> u32 {
    match element {
        Element::F32 => 0,
        Element::Bf16 => 1,
        Element::F16 => 2,
    }
}

/// A tensor of the element-wise update.
#[derive(Clone, Copy, Debug)]
pub(super) struct AdamWEntry {
    pub(super) weight: u64,
    pub(super) gradient: u64,
    pub(super) first_moment: u64,
    pub(super) second_moment: u64,
    /// 0 without master weights.
    pub(super) remainder: u64,
    pub(super) length: u64,
    pub(super) first_block: u32,
    pub(super) group: u32,
    pub(super) element: Element,
    /// The tensor's update number is the clock's plus this, modulo 2^32.
    pub(super) updates: u32,
}

impl AdamWEntry {
    pub(super) fn write(&self, table: &mut Vec<u8>) {
        for long in [
            self.weight,
            self.gradient,
            self.first_moment,
            self.second_moment,
            self.length,
        ] {
            table.long(long);
        }
        table
            .word(self.first_block)
            .word(self.group)
            .word(element_code(self.element))
            .word(self.updates)
            .long(self.remainder);
    }
}

pub(super) fn write_adamw_group(table: &mut Vec<u8>, scalars: &AdamWScalars) {
    for value in [
        scalars.learning_rate,
        scalars.beta1,
        scalars.beta2,
        scalars.epsilon,
        scalars.weight_decay,
    ] {
        table.number(value);
    }
    table.word(0).word(0).word(0);
}

pub(super) fn write_scanned(table: &mut Vec<u8>, extent: Extent, rows: u32, first_block: u32) {
    table
        .long(extent.pointer)
        .long(extent.columns as u64)
        .long(extent.leading as u64)
        .word(rows)
        .word(first_block)
        .word(element_code(extent.element))
        .word(0);
}

/// A table on the device with the image that was written to it.
#[derive(Debug, Default)]
pub(super) struct DeviceTable {
    memory: Option<DeviceMemory>,
    image: Vec<u8>,
    /// A graph holds its address.
    pinned: bool,
}

impl DeviceTable {
    /// From now on the table stays where it is.
    pub(super) fn pin(&mut self) {
        self.pinned = true;
    }

    /// Makes the device's copy equal to `image`; says whether anything had to be written. A table that is made
    /// has room for `capacity` bytes.
    pub(super) fn update(
        &mut self,
        stream: &Arc<CudaStream>,
        image: Vec<u8>,
        capacity: usize,
        purpose: &str,
    ) -> Result<bool, BackendError> {
        if image == self.image && self.memory.is_some() {
            return Ok(false);
        }
        // Until the copy is whole the device holds neither the old table nor the new one.
        self.image.clear();
        let memory = match self.memory.take() {
            Some(memory) if memory.bytes() >= image.len() => memory,
            Some(memory) if self.pinned => {
                self.memory = Some(memory);
                return Err(BackendError::Device {
                    action: format!("writing {purpose}"),
                    reason: "it has grown since the step was recorded; record again".to_owned(),
                    lost: false,
                });
            }
            _ => DeviceMemory::zeroed(stream, image.len().max(capacity), purpose)?,
        };
        let written = memory.write(0, &image);
        self.memory = Some(memory);
        written?;
        self.image = image;
        Ok(true)
    }

    pub(super) fn pointer(&self) -> u64 {
        self.memory.as_ref().map_or(0, DeviceMemory::pointer)
    }
}

/// Scalars of the groups of a launch, each once.
#[derive(Debug)]
pub(super) struct Groups<T>(pub(super) Vec<T>);

impl<T: PartialEq + Copy> Groups<T> {
    /// The place of `scalars`, which are added if they are new.
    pub(super) fn place(&mut self, scalars: T) -> u32 {
        let found = self.0.iter().position(|known| *known == scalars);
        let place = found.unwrap_or_else(|| {
            self.0.push(scalars);
            self.0.len() - 1
        });
        place as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use himuon_codegen::bundle::Manifest;
    use himuon_templates::{Architecture, KernelSpec, Tile, Variant};

    /// The manifest describes what kernels read; each field written here must lie where it says.
    #[test]
    fn entries_lie_as_the_manifest_says() {
        let spec = KernelSpec::new(Tile::square(64));
        let variant = Variant::default_for(&spec, Architecture::Sm80);
        let rendered = himuon_codegen::render::render(&spec, &variant, Architecture::Sm80).unwrap();
        let manifest = Manifest::new(&spec, &variant, Architecture::Sm80, &rendered.id);
        let table = |name: &str| manifest.tables.iter().find(|t| t.name == name).unwrap();
        let offset = |name: &str, field: &str| {
            let fields = table(name).fields.iter();
            fields.clone().find(|f| f.name == field).unwrap().offset as usize
        };
        let mut image = Vec::new();
        MatrixEntry {
            gradient: 1,
            momentum: 2,
            weight: 3,
            mapped: 4,
            rows: 5,
            columns: 6,
            gradient_leading: 7,
            weight_leading: 8,
            first_tile: 9,
            group: 10,
            remainder: None,
        }
        .write(&mut image);
        assert_eq!(image.len(), table("Matrix").bytes as usize);
        assert_eq!(image.len(), MATRIX_BYTES);
        let fields = [
            "gradient",
            "momentum",
            "weight",
            "mapped",
            "rows",
            "columns",
            "gradient_leading",
            "weight_leading",
            "first_tile",
            "group",
        ];
        for (index, field) in fields.into_iter().enumerate() {
            assert_eq!(image[offset("Matrix", field)], index as u8 + 1, "{field}");
        }
        let mut image = Vec::new();
        let scalars = GroupScalars {
            learning_rate: 1.0,
            weight_decay: 2.0,
            mu: 3.0,
            c: 4.0,
            alpha: 5.0,
            beta: 6.0,
            scale_factor: 7.0,
            scale: ScaleRule::None,
            coarse_factor: 1.0,
            captured_decay: 0.0,
        };
        write_group(&mut image, &scalars);
        assert_eq!(image.len(), table("Group").bytes as usize);
        let fields = [
            "learning_rate",
            "weight_decay",
            "mu",
            "c",
            "alpha",
            "beta",
            "scale_factor",
        ];
        for (index, field) in fields.into_iter().enumerate() {
            let at = offset("Group", field);
            let found = f32::from_le_bytes(image[at..at + 4].try_into().unwrap());
            assert_eq!(found, index as f32 + 1.0, "{field}");
        }
        assert_eq!(image[offset("Group", "scale_rule")], 4);
        assert_eq!(REPORT_BYTES, table("TileReport").bytes as usize);
    }
}
