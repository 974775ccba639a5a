//! The launches of a sequence, each with the parameters that the manifest names.

use super::backend::CudaBackend;
use super::bundle::{Entry, Launch, Parameter};
use super::device::Memory;
use super::kernels::Loaded;
use super::range::Range;
use super::tables::OnDevice;

/// One run of sequences, its tables on the device.
pub(super) struct Session<'a> {
    pub(super) backend: &'a CudaBackend,
    pub(super) loaded: &'a Loaded,
    pub(super) purpose: &'a str,
    pub(super) on_device: &'a [OnDevice],
    pub(super) tile_count: u32,
    pub(super) matrices: Memory,
    pub(super) groups: Memory,
    pub(super) reports: Memory,
    pub(super) counters: Memory,
    pub(super) step: Memory,
}

impl Session<'_> {
    /// Runs the launches of a sequence and says how many they were. What is launched by matrix is launched once, what
    /// stands before and after it for each range.
    pub(super) fn sequence(&self, name: &str, ranges: &[Range]) -> Result<usize, String> {
        let manifest = &self.loaded.bundle.manifest;
        let mut launches = manifest.launches(name)?;
        launches.retain(|(launch, _)| self.backend.reports || !launch.for_reports);
        let by_matrix = |(_, entry): &(&Launch, &Entry)| entry.grid.is_by_matrix();
        let mut count = 0;
        for part in launches.chunk_by(|a, b| by_matrix(a) == by_matrix(b)) {
            let once = by_matrix(&part[0]);
            for range in ranges.iter().take(if once { 1 } else { usize::MAX }) {
                for (launch, entry) in part {
                    self.launch(launch, entry, range)?;
                    count += 1;
                }
            }
        }
        Ok(count)
    }

    fn launch(&self, launch: &Launch, entry: &Entry, range: &Range) -> Result<(), String> {
        let CudaBackend { device, blocks, .. } = self.backend;
        let manifest = &self.loaded.bundle.manifest;
        let rule = entry.grid.blocks(range, self.on_device.len() as u32)?;
        let blocks = blocks.filter(|_| entry.grid.any_number).unwrap_or(rule);
        let workspace = self.workspace(entry, blocks)?;
        let value = |parameter: &Parameter| {
            self.value(parameter, launch, entry, range)
                .or_else(|| workspace.as_ref()?.value(entry, &parameter.name))
                .or_else(|| range.value(manifest, &parameter.name))
                .ok_or_else(|| format!("{}: what is parameter {}?", entry.name, parameter.name))
        };
        device.launch(&self.loaded.module, entry, blocks, value)
    }

    fn workspace(&self, entry: &Entry, blocks: u32) -> Result<Option<Scratch>, String> {
        let Some(rule) = &entry.workspace else {
            return Ok(None);
        };
        let manifest = &self.loaded.bundle.manifest;
        let units = self.on_device.iter().map(|matrix| {
            let rows = u64::from(matrix.rows.min(manifest.tile_rows));
            let columns = u64::from(matrix.columns.min(manifest.tile_columns));
            rule.per_element * rows * columns + rule.per_square * rows.min(columns).pow(2)
        });
        let units = units.max().unwrap_or(0);
        let bytes = units * rule.unit_bytes * u64::from(blocks);
        let memory = self.backend.device.uninitialised(bytes as usize)?;
        Ok(Some(Scratch { memory, units }))
    }

    fn value(
        &self,
        parameter: &Parameter,
        launch: &Launch,
        entry: &Entry,
        range: &Range,
    ) -> Option<u64> {
        let by_matrix = entry.grid.is_by_matrix();
        Some(match parameter.name.as_str() {
            "matrices" => self.matrices.address(),
            "matrix_count" => self.on_device.len() as u64,
            "groups" if parameter.optional && self.purpose == "map" => 0,
            "groups" => self.groups.address(),
            "reports" if parameter.optional && !self.backend.reports => 0,
            "reports" => self.reports.address(),
            "first_tile" if by_matrix => 0,
            "first_tile" => u64::from(range.first),
            "tile_count" if by_matrix => u64::from(self.tile_count),
            "tile_count" => u64::from(range.count),
            "step" => self.step.address(),
            "first_step" => 5,
            "end_step" => 9,
            "counters" => self.counters.address(),
            "index" => u64::from(launch.index),
            "turn" => u64::from(launch.turn),
            _ => return None,
        })
    }
}

/// Scratch memory of a launch.
struct Scratch {
    memory: Memory,
    units: u64,
}

impl Scratch {
    fn value(&self, entry: &Entry, parameter: &str) -> Option<u64> {
        let rule = entry.workspace.as_ref()?;
        if parameter == rule.parameter {
            Some(self.memory.address())
        } else {
            (parameter == rule.size_parameter).then_some(self.units)
        }
    }
}
