//! The kernels of one specification, loaded, with what is needed to launch them.

use std::sync::Arc;

use cudarc::driver::sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES as MAX_SHARED;
use cudarc::driver::{CudaContext, CudaFunction, CudaModule, CudaStream};
use himuon_codegen::bundle::{Count, Entry, Kind, Manifest, Parameter};
use himuon_codegen::render::render;
use himuon_templates::variant::Plain;
use himuon_templates::{DeviceLimits, KernelId, KernelSpec, Variant};

use super::device::DeviceInfo;
use super::driver::{Argument, Shape, launch};
use super::error::CudaError;
use super::module;
use super::table::REPORT_BYTES;
use crate::backend::BackendError;
use crate::launch::MatrixDemand;

/// What computes any tile.
const PLAIN: Plain = Plain { warps: 8 };

/// How a specification is computed on a device, before anything is loaded.
#[derive(Clone, Debug)]
pub(super) struct Method {
    pub(super) variant: Variant,
    manifest: Manifest,
}

impl Method {
    /// The named variant, or the default one.
    pub(super) fn of(
        device: &DeviceInfo,
        spec: &KernelSpec,
        variant: Option<&str>,
    ) -> Result<Self, BackendError> {
        let unsupported = |reason: String| BackendError::Unsupported {
            backend: "cuda",
            spec: spec.to_string(),
            reason,
        };
        let architecture = device.architecture().map_err(BackendError::from)?;
        let class = architecture.limits();
        // Of its class's devices this one may have more shared memory.
        let limits = DeviceLimits {
            shared_memory: class.shared_memory.max(device.shared_bytes),
            ..class
        };
        // What is launched does not depend on the text, so nothing need be rendered to plan.
        let with = |variant: Variant| {
            variant
                .fits(spec, limits)
                .map_err(|error| unsupported(error.to_string()))?;
            let nameless = KernelId::named("", "");
            Ok(Method {
                variant,
                manifest: Manifest::new(spec, &variant, architecture, &nameless),
            })
        };
        match variant {
            None => {
                let method = with(Variant::default_for(spec, architecture))?;
                if method.is_launchable() {
                    return Ok(method);
                }
                with(Variant::Plain(PLAIN))
            }
            Some(name) => {
                let parsed = name.parse::<Variant>();
                let method = with(parsed.map_err(|error| unsupported(error.to_string()))?)?;
                if method.is_launchable() {
                    return Ok(method);
                }
                Err(unsupported(format!(
                    "variant {name} is launched in a way that this backend does not know; leave it out"
                )))
            }
        }
    }

    /// Whether every parameter of every launch is one that a launch fills in, of the kind it fills in.
    fn is_launchable(&self) -> bool {
        let launches = self.launches("step");
        !launches.is_empty() && launches.into_iter().all(TileArguments::suffice)
    }

    /// The kernels of a purpose, `step` or `map`, in order.
    fn launches(&self, purpose: &str) -> Vec<&Entry> {
        let sequence = self.manifest.sequences.iter();
        let names = sequence
            .filter(|sequence| sequence.purpose == purpose)
            .flat_map(|sequence| &sequence.launches);
        let named = |name| {
            self.manifest
                .entries
                .iter()
                .find(|entry| entry.name == name)
        };
        names.filter_map(|launch| named(launch.entry)).collect()
    }

    /// Whether maps wait in memory for the norm of their matrix.
    pub(super) fn keeps_maps(&self) -> bool {
        self.launches("step").len() > 1
    }

    /// Where everything lies in the workspace of matrices that run together.
    pub(super) fn workspace(
        &self,
        spec: &KernelSpec,
        matrices: &[MatrixDemand],
        blocks: usize,
    ) -> Workspace {
        let launches = self.launches("step");
        let scratch = launches.iter().find_map(|entry| entry.workspace.as_ref());
        let mut reported = launches
            .iter()
            .flat_map(|entry| &entry.parameters)
            .any(|parameter| parameter.name == "reports" && !parameter.optional);
        let (mut tiles, mut units, mut mapped_bytes) = (0, 0, 0);
        let mut mapped = Vec::with_capacity(matrices.len());
        for matrix in matrices {
            let (height, width) = spec.tile.effective(matrix.rows, matrix.columns);
            tiles += matrix.rows.div_ceil(height.max(1)) * matrix.columns.div_ceil(width.max(1));
            let short = height.min(width);
            units = units.max(scratch.map_or(0, |scratch| {
                scratch.per_element as usize * height * width
                    + scratch.per_square as usize * short * short
            }));
            reported |= matrix.diagnosed;
            mapped.push(mapped_bytes);
            if self.keeps_maps() {
                mapped_bytes += aligned(4 * matrix.rows * matrix.columns);
            }
        }
        let unit_bytes = scratch.map_or(0, |scratch| scratch.unit_bytes as usize);
        let blocks = blocks.min(tiles);
        let reports = if reported {
            aligned(REPORT_BYTES * tiles)
        } else {
            0
        };
        let scratch_bytes = aligned(unit_bytes * units * blocks);
        Workspace {
            reported,
            units_of_block: units,
            blocks,
            scratch_offset: reports,
            mapped_offset: reports + scratch_bytes,
            mapped,
            bytes: reports + scratch_bytes + mapped_bytes,
        }
    }
}

/// The workspace of a chunk: reports first, then what each block works in, then mapped matrices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Workspace {
    pub(super) reported: bool,
    /// What a block has of the scratch memory, in the units of its kernel.
    pub(super) units_of_block: usize,
    pub(super) blocks: usize,
    pub(super) scratch_offset: usize,
    pub(super) mapped_offset: usize,
    /// By matrix, from `mapped_offset` on.
    pub(super) mapped: Vec<usize>,
    pub(super) bytes: usize,
}

/// Allocations and vector accesses are aligned to this.
fn aligned(bytes: usize) -> usize {
    bytes.next_multiple_of(256)
}

/// What the launches of a chunk are handed, by the names that kernels give their parameters.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TileArguments {
    pub(super) matrices: u64,
    pub(super) matrix_count: u32,
    pub(super) groups: u64,
    pub(super) reports: u64,
    pub(super) tile_count: u32,
    pub(super) counters: u64,
    pub(super) workspace: u64,
    pub(super) workspace_of_block: u64,
    /// Blocks that the scratch memory is for.
    pub(super) blocks: u32,
    /// The word that says whether the launch is to do anything; 0: it is.
    pub(super) active: u64,
}

impl TileArguments {
    fn value(&self, parameter: &Parameter) -> Option<Argument> {
        Some(match parameter.name {
            "matrices" => Argument::Pointer(self.matrices),
            "matrix_count" => Argument::Word(self.matrix_count),
            "groups" => Argument::Pointer(self.groups),
            "reports" => Argument::Pointer(self.reports),
            "tile_count" => Argument::Word(self.tile_count),
            "counters" => Argument::Pointer(self.counters),
            "workspace" => Argument::Pointer(self.workspace),
            "workspace_of_block" => Argument::Long(self.workspace_of_block),
            "step" => Argument::Pointer(self.active),
            "first_step" => Argument::Word(1),
            "end_step" => Argument::Word(2),
            _ => return None,
        })
    }

    /// Whether there is a value for a parameter, of its kind.
    fn fill(parameter: &Parameter) -> bool {
        matches!(
            (TileArguments::default().value(parameter), parameter.kind),
            (Some(Argument::Pointer(_)), Kind::Pointer)
                | (Some(Argument::Word(_)), Kind::U32)
                | (Some(Argument::Long(_)), Kind::U64)
        )
    }

    /// What decides the number of a launch's blocks, where that is known here.
    fn count(&self, count: Count) -> Option<u32> {
        match count {
            Count::Tiles => Some(self.tile_count),
            Count::Matrices => Some(self.matrix_count),
            Count::One => Some(1),
            Count::Patches | Count::Triangle | Count::Blocks => None,
        }
    }

    /// Whether everything that a launch asks for is known here.
    fn suffice(entry: &Entry) -> bool {
        entry.parameters.iter().all(TileArguments::fill)
            && TileArguments::default().count(entry.grid.count).is_some()
    }
}

#[derive(Debug)]
struct LoadedEntry {
    layout: Entry,
    function: CudaFunction,
}

impl LoadedEntry {
    fn blocks(&self, arguments: &TileArguments) -> Option<u32> {
        let grid = &self.layout.grid;
        if grid.any_number && self.layout.workspace.is_some() {
            return Some(arguments.blocks.max(1));
        }
        let count = arguments.count(grid.count)?;
        Some(count.div_ceil(grid.per_block.max(1)))
    }
}

/// The kernels of one purpose of a specification.
#[derive(Debug)]
pub(super) struct TileKernel {
    pub(super) id: String,
    pub(super) method: Method,
    entries: Vec<LoadedEntry>,
}

impl TileKernel {
    /// Loads the kernels of `purpose`: `step`, or `map` alone.
    pub(super) fn load(
        context: &Arc<CudaContext>,
        device: &DeviceInfo,
        spec: &KernelSpec,
        method: Method,
        purpose: &str,
    ) -> Result<Self, CudaError> {
        let rendered = render(spec, &method.variant, device.architecture()?)?;
        let id = rendered.id.to_string();
        let module = module::load(context, &id, &rendered.text, &device.target())?;
        let entries = method
            .launches(purpose)
            .into_iter()
            .map(|layout| loaded(&id, &module, layout))
            .collect::<Result<_, _>>()?;
        Ok(TileKernel {
            id,
            method,
            entries,
        })
    }

    /// Kernels of a step.
    pub(super) fn launches(&self) -> usize {
        self.entries.len()
    }

    /// Whether every launch can be told by a word on the device to do nothing.
    pub(super) fn follows_the_device(&self) -> bool {
        let stepped = |entry: &LoadedEntry| {
            let mut parameters = entry.layout.parameters.iter();
            parameters.any(|parameter| parameter.name == "step")
        };
        self.entries.iter().all(stepped)
    }

    /// Submits the step of a chunk.
    pub(super) fn submit(
        &self,
        stream: &CudaStream,
        arguments: &TileArguments,
    ) -> Result<(), CudaError> {
        for entry in &self.entries {
            let unknown = || unknown(&self.id, &entry.layout);
            let shape = Shape {
                blocks: entry.blocks(arguments).ok_or_else(unknown)?,
                threads: entry.layout.block,
                shared_bytes: entry.layout.dynamic_shared_bytes,
            };
            let parameters = entry.layout.parameters.iter();
            let values: Option<Vec<_>> = parameters.map(|p| arguments.value(p)).collect();
            let values = values.ok_or_else(unknown)?;
            launch(stream, &entry.function, shape, &values)?;
        }
        Ok(())
    }
}

fn unknown(id: &str, layout: &Entry) -> CudaError {
    let names: Vec<_> = layout.parameters.iter().map(|p| p.name).collect();
    CudaError::Layout {
        id: id.to_owned(),
        reason: format!("parameters of {}: {}", layout.name, names.join(", ")),
    }
}

fn loaded(id: &str, module: &Arc<CudaModule>, layout: &Entry) -> Result<LoadedEntry, CudaError> {
    if !TileArguments::suffice(layout) {
        return Err(unknown(id, layout));
    }
    let function = function(module, layout.name, layout.dynamic_shared_bytes)?;
    Ok(LoadedEntry {
        layout: layout.clone(),
        function,
    })
}

/// A function of a module, allowed as much dynamic shared memory as it wants.
pub(super) fn function(
    module: &Arc<CudaModule>,
    name: &str,
    shared_bytes: u32,
) -> Result<CudaFunction, CudaError> {
    let action = || format!("looking up {name}");
    let function = module
        .load_function(name)
        .map_err(CudaError::call(action()))?;
    if shared_bytes > 48 * 1024 {
        function
            .set_attribute(MAX_SHARED, shared_bytes as i32)
            .map_err(CudaError::call(format!(
                "allowing {name} {shared_bytes} bytes of shared memory"
            )))?;
    }
    Ok(function)
}
