//! The kernels of one specification, loaded, with what is needed to launch them.

use std::sync::Arc;

use cudarc::driver::sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES as MAX_SHARED;
use cudarc::driver::{CudaFunction, CudaModule, CudaStream};
use himuon_codegen::bundle::{Count, Entry, Launch, Manifest, Workspace};
use himuon_codegen::compile::Part;
use himuon_codegen::render::{Rendered, render};
use himuon_templates::{DeviceLimits, Element, KernelId, KernelSpec, ParseError, Variant};

use super::arguments::{TileArguments, launch_of};
use super::device::DeviceInfo;
use super::driver::{Shape, launch};
use super::error::CudaError;
use super::module::Loader;
use super::ranges::TileRange;
use crate::backend::BackendError;

/// Blocks of one launch, at most.
const MOST_BLOCKS: u32 = i32::MAX as u32;

fn unsupported(spec: &KernelSpec, reason: String) -> BackendError {
    BackendError::Unsupported {
        backend: "cuda",
        spec: spec.to_string(),
        reason,
    }
}

/// The named variant, or the default one, where it can compute the specification on this device.
pub(super) fn variant_of(
    device: &DeviceInfo,
    spec: &KernelSpec,
    name: Option<&str>,
) -> Result<Variant, BackendError> {
    let architecture = device.architecture().map_err(BackendError::from)?;
    let limits = DeviceLimits {
        shared_memory: device.shared_bytes,
        ..architecture.limits()
    };
    let variant = match name {
        None => Variant::default_for(spec, architecture),
        Some(name) => name
            .parse()
            .map_err(|error: ParseError| unsupported(spec, error.to_string()))?,
    };
    let fits = variant.fits(spec, limits);
    fits.map_err(|error| unsupported(spec, error.to_string()))?;
    Ok(variant)
}

/// How a specification is computed on a device, before anything is loaded.
#[derive(Clone, Debug)]
pub(super) struct Method {
    pub(super) variant: Variant,
    manifest: Manifest,
    /// Maps wait in the gradients.
    consumes_gradients: bool,
}

impl Method {
    /// The named variant, or the default one.
    pub(super) fn of(
        device: &DeviceInfo,
        spec: &KernelSpec,
        variant: Option<&str>,
    ) -> Result<Self, BackendError> {
        let variant = variant_of(device, spec, variant)?;
        let architecture = device.architecture().map_err(BackendError::from)?;
        // What is launched does not depend on the text, so nothing need be rendered to plan.
        let nameless = KernelId::named("", "");
        let method = Method {
            variant,
            manifest: Manifest::new(spec, &variant, architecture, &nameless),
            consumes_gradients: false,
        };
        if method.is_launchable() {
            return Ok(method);
        }
        let reason = format!(
            "variant {variant} is launched in a way that this backend does not know; please report it"
        );
        Err(unsupported(spec, reason))
    }

    /// The text of the kernels of `spec`, and what of it `purpose` launches.
    pub(super) fn text(
        &self,
        device: &DeviceInfo,
        spec: &KernelSpec,
        purpose: &str,
    ) -> Result<(Rendered, Part), CudaError> {
        let rendered = render(spec, &self.variant, device.architecture()?)?;
        Ok((rendered, Part::of(&self.variant, purpose)))
    }

    /// With maps kept in the gradients where those hold f32 numbers.
    pub(super) fn consuming_gradients(self, spec: &KernelSpec, consumes: bool) -> Self {
        Method {
            consumes_gradients: consumes && spec.storage.weight == Element::F32,
            ..self
        }
    }

    /// Whether every parameter of every launch is one that a launch fills in, of the kind it fills in.
    fn is_launchable(&self) -> bool {
        let launches = self.launches("step");
        let layout = self.launches("layout").into_iter();
        !launches.is_empty()
            && layout
                .chain(launches)
                .all(|(_, entry)| TileArguments::fill(entry))
    }

    /// The launches of a purpose, `step`, `map` or `layout`, in order.
    fn launches(&self, purpose: &str) -> Vec<(Launch, &Entry)> {
        let sequence = self.manifest.sequences.iter();
        let launches = sequence
            .filter(|sequence| sequence.purpose == purpose)
            .flat_map(|sequence| &sequence.launches);
        let entries = &self.manifest.entries;
        launches
            .filter_map(|launch| {
                let entry = entries.iter().find(|entry| entry.name == launch.entry)?;
                Some((*launch, entry))
            })
            .collect()
    }

    /// Kernels of a purpose over so many ranges of tiles.
    pub(super) fn kernels(&self, purpose: &str, ranges: usize, reported: bool) -> usize {
        let launches = self.launches(purpose).into_iter();
        launches
            .filter(|(launch, _)| reported || !launch.for_reports)
            .map(|(_, entry)| if is_by_matrix(entry) { 1 } else { ranges })
            .sum()
    }

    /// Whether ranges of tiles have tables.
    pub(super) fn has_tile_tables(&self) -> bool {
        !self.launches("layout").is_empty()
    }

    /// Where maps wait for the norm of their matrix.
    pub(super) fn maps(&self) -> MapsIn {
        let mut launches = self.launches("step").into_iter();
        match launches.any(|(_, entry)| is_by_matrix(entry)) {
            false => MapsIn::Registers,
            true if self.consumes_gradients => MapsIn::Gradients,
            true => MapsIn::Workspace,
        }
    }

    /// Whether the launches read reports themselves.
    pub(super) fn needs_reports(&self) -> bool {
        self.launches("step")
            .iter()
            .flat_map(|(_, entry)| &entry.parameters)
            .any(|parameter| parameter.name == "reports" && !parameter.optional)
    }

    /// What each block works in, where blocks have memory of their own.
    pub(super) fn block_scratch(&self) -> Option<&Workspace> {
        let mut entries = self.manifest.entries.iter();
        entries.find_map(|entry| entry.workspace.as_ref())
    }
}

/// Where the mapped tiles of a matrix are between the launches of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MapsIn {
    /// Nowhere: they go into the weight at once.
    Registers,
    Workspace,
    Gradients,
}

/// Whether a launch is for all tiles together, whatever the range.
fn is_by_matrix(entry: &Entry) -> bool {
    entry.grid.count == Count::Matrices
}

#[derive(Debug)]
struct LoadedEntry {
    layout: Entry,
    function: CudaFunction,
}

impl LoadedEntry {
    fn blocks(&self, arguments: &TileArguments, range: &TileRange) -> u32 {
        let grid = &self.layout.grid;
        if grid.any_number && self.layout.workspace.is_some() {
            return arguments.blocks.max(1);
        }
        let count = match grid.count {
            Count::Tiles => range.tiles,
            Count::Matrices => arguments.matrix_count,
            Count::One => 1,
            Count::Patches => range.work.patches,
            Count::Triangle => range.work.triangle,
            Count::Blocks => range.work.blocks,
        };
        let blocks = count.div_ceil(grid.per_block.max(1));
        if grid.any_number {
            blocks.min(MOST_BLOCKS)
        } else {
            blocks
        }
    }
}

/// The kernels of one purpose of a specification.
#[derive(Debug)]
pub(super) struct TileKernel {
    pub(super) id: String,
    pub(super) method: Method,
    /// Each kernel once.
    entries: Vec<LoadedEntry>,
    /// The launches in order, each with its place in `entries`.
    sequence: Vec<(Launch, usize)>,
    /// What fills the tables of tiles, where the family has them.
    layout: Option<LoadedEntry>,
}

impl TileKernel {
    /// Loads the kernels of `purpose`: `step`, or `map` alone.
    pub(super) fn load(
        loader: Loader<'_>,
        spec: &KernelSpec,
        method: Method,
        purpose: &str,
    ) -> Result<Self, CudaError> {
        let (rendered, part) = method.text(loader.device, spec, purpose)?;
        let id = rendered.id.to_string();
        let module = loader.load(&rendered, part)?;
        let mut entries: Vec<LoadedEntry> = Vec::new();
        let mut sequence = Vec::new();
        for (launch, entry) in method.launches(purpose) {
            let known = entries.iter().position(|e| e.layout.name == entry.name);
            if known.is_none() {
                entries.push(loaded(&id, &module, entry)?);
            }
            sequence.push((launch, known.unwrap_or(entries.len() - 1)));
        }
        let layout = method.launches("layout").into_iter().next();
        let layout = layout
            .map(|(_, entry)| loaded(&id, &module, entry))
            .transpose()?;
        Ok(TileKernel {
            id,
            method,
            entries,
            sequence,
            layout,
        })
    }

    /// Whether every launch can be told by a word on the device to do nothing.
    pub(super) fn follows_the_device(&self) -> bool {
        let stepped = |entry: &LoadedEntry| {
            let mut parameters = entry.layout.parameters.iter();
            parameters.any(|parameter| parameter.name == "step")
        };
        self.entries.iter().all(stepped)
    }

    /// Submits the step of a chunk: what is launched by matrix once, what stands before and after it for each range.
    /// Returns how many kernels that were.
    pub(super) fn submit(
        &self,
        stream: &CudaStream,
        arguments: &TileArguments,
        ranges: &[TileRange],
    ) -> Result<usize, CudaError> {
        let whole = [TileRange::whole(arguments.tile_count)];
        let by_matrix = |(_, entry): &(Launch, usize)| is_by_matrix(&self.entries[*entry].layout);
        let wanted = |(launch, _): &&(Launch, usize)| !launch.for_reports || arguments.reports != 0;
        let sequence: Vec<_> = self.sequence.iter().filter(wanted).copied().collect();
        let mut count = 0;
        for part in sequence.chunk_by(|a, b| by_matrix(a) == by_matrix(b)) {
            let ranges = if by_matrix(&part[0]) { &whole } else { ranges };
            for range in ranges {
                for (launch, entry) in part {
                    self.launch(stream, &self.entries[*entry], arguments, (launch, range))?;
                    count += 1;
                }
            }
        }
        Ok(count)
    }

    /// Has the device fill the table of a range, from the table of matrices.
    pub(super) fn lay_out(
        &self,
        stream: &CudaStream,
        arguments: &TileArguments,
        range: &TileRange,
    ) -> Result<(), CudaError> {
        let Some(entry) = &self.layout else {
            return Ok(());
        };
        let launch = launch_of(&entry.layout);
        self.launch(stream, entry, arguments, (&launch, range))
    }

    fn launch(
        &self,
        stream: &CudaStream,
        entry: &LoadedEntry,
        arguments: &TileArguments,
        (of, range): (&Launch, &TileRange),
    ) -> Result<(), CudaError> {
        let shape = Shape {
            blocks: entry.blocks(arguments, range),
            threads: entry.layout.block,
            shared_bytes: entry.layout.dynamic_shared_bytes,
        };
        let parameters = entry.layout.parameters.iter();
        let values: Option<Vec<_>> = parameters
            .map(|parameter| arguments.value(parameter, of, range))
            .collect();
        let values = values.ok_or_else(|| unknown(&self.id, &entry.layout))?;
        launch(stream, &entry.function, shape, &values)
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
    if !TileArguments::fill(layout) {
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
