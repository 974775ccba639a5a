//! What each parameter gets, what it costs, and why.

use std::collections::BTreeMap;
use std::fmt;

use himuon_templates::{KernelSpec, Tile};
use serde::{Deserialize, Serialize};

use super::coarse::basis_len;
use super::group::GroupOptions;
use super::parameter::Parameter;
use super::{HiMuon, NonFinitePolicy, Protection};
use crate::error::Error;
use crate::launch::{CoarseFigures, TileDiagnostics};
use crate::memory::Memory;
use crate::plan::{Launch, Plan};
use crate::schedule::GroupPhase;
use crate::text::bytes_text;

/// One parameter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParameterLine {
    /// Name.
    pub name: String,
    /// Declared shape.
    pub shape: Vec<usize>,
    /// The pattern of its group.
    pub group: String,
    /// The specification's text form, or `adamw`.
    pub spec: String,
    /// Number of tiles; 0 for AdamW.
    pub tiles: u64,
    /// Bytes of its state.
    pub state_bytes: u64,
    /// Why it is updated that way.
    pub reason: String,
}

/// Bytes and operations of the whole optimizer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Numbers of all parameters.
    pub parameters: u64,
    /// Momentum, moments, row moments, coarse bases and remainders of master weights.
    pub state_bytes: u64,
    /// Scratch memory of the largest chunk.
    pub workspace_bytes: u64,
    /// Tables of matrices and, where each tile has its own workspace, of tiles.
    pub table_bytes: u64,
    /// Copy of weights (f32 where a group does not declare their type) and state under [`Protection::Snapshot`].
    pub snapshot_bytes: u64,
    /// Reports of tiles and of coarse parts, where [`diagnostics`](super::HiMuonBuilder::diagnostics) are wanted.
    pub diagnostics_bytes: u64,
    /// What the probe takes at most, for as long as a reading lasts: copies of one matrix, and scratch memory of its
    /// maps on the CPU, which no budget caps.
    pub probe_bytes: u64,
    /// Bytes that the policy reads before each launch, beside what the step reads anyway.
    pub scanned_bytes: u64,
    /// Tiles.
    pub tiles: u64,
    /// Nominal operations of a step's matrix products.
    pub operations: u64,
}

/// What [`HiMuon::explain`] says; its text form has one line per parameter and the totals below.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// The step that is explained.
    pub step: u64,
    /// By parameter, in the declared order.
    pub parameters: Vec<ParameterLine>,
    /// One line per launch: specification, tiles, chunks, threads, and why.
    pub launches: Vec<String>,
    /// One line per group: learning rate, decay, momentum, schedule.
    pub groups: Vec<String>,
    /// Sums.
    pub totals: Totals,
    /// What deserves a second look.
    pub warnings: Vec<String>,
}

impl<M: Memory> HiMuon<M> {
    /// One line per parameter: shape, group, specification, tiles, bytes, why; and the totals of the next step.
    ///
    /// # Errors
    /// The next step cannot be planned: a tile that no config declares, a budget too small.
    pub fn explain(&self) -> Result<Explanation, Error> {
        let step = self.step;
        let (plan, phases) = self.planned(step)?;
        let parameters: Vec<_> = self.parameter_lines(&plan);
        let state_bytes = parameters.iter().map(|line| line.state_bytes).sum();
        Ok(Explanation {
            step,
            totals: Totals {
                diagnostics_bytes: self.diagnostics_bytes(&plan),
                probe_bytes: self.probe_bytes(&plan)?,
                ..self.totals(&plan, state_bytes)
            },
            parameters,
            launches: plan.launches.iter().map(launch_line).collect(),
            groups: self.group_lines(&phases),
            warnings: self.warnings.clone(),
        })
    }

    fn parameter_lines(&self, plan: &Plan) -> Vec<ParameterLine> {
        let mut tiled: BTreeMap<usize, (&Launch, u64)> = BTreeMap::new();
        for launch in &plan.launches {
            for matrix in &launch.matrices {
                tiled.entry(matrix.parameter).or_insert((launch, 0)).1 += matrix.tiles();
            }
        }
        self.parameters
            .iter()
            .enumerate()
            .map(|(index, parameter)| {
                let (spec, tiles) = match tiled.get(&index) {
                    Some((launch, tiles)) => (launch.spec.to_string(), *tiles),
                    None => ("adamw".to_owned(), 0),
                };
                ParameterLine {
                    name: parameter.name.clone(),
                    shape: parameter.shape.clone(),
                    group: self.groups[parameter.group].pattern.clone(),
                    spec,
                    tiles,
                    state_bytes: self.state_bytes(index),
                    reason: parameter.reason.clone(),
                }
            })
            .collect()
    }

    /// Bytes of a parameter's state once it is allocated.
    pub(super) fn state_bytes(&self, index: usize) -> u64 {
        let parameter = &self.parameters[index];
        let len = parameter.len as u64;
        let kept = self.groups[parameter.group].options.master_weights();
        let remainder = if kept { 2 * len } else { 0 };
        let moments = match (&self.groups[parameter.group].options, parameter.matrices) {
            (GroupOptions::Muon(options), Some(view)) => {
                let rows = options
                    .row_normalisation
                    .map_or(0, |_| view.count * view.rows);
                let basis = basis_len(options, view);
                len * options.specs[0].storage.momentum.bytes() as u64 + 4 * (rows + basis) as u64
            }
            _ => 8 * len,
        };
        moments + remainder
    }

    /// Bytes of what is kept of every tile and coarse part of a plan.
    fn diagnostics_bytes(&self, plan: &Plan) -> u64 {
        if !self.diagnostics {
            return 0;
        }
        let coupled = |parameter: &Parameter<M>| {
            let options = &self.groups[parameter.group].options;
            match (options, parameter.matrices) {
                (GroupOptions::Muon(options), Some(view)) if basis_len(options, view) > 0 => {
                    view.count as u64
                }
                _ => 0,
            }
        };
        let coarse_parts: u64 = self.parameters.iter().map(coupled).sum();
        plan.tiles() * size_of::<TileDiagnostics>() as u64
            + coarse_parts * size_of::<CoarseFigures>() as u64
    }

    fn totals(&self, plan: &Plan, state_bytes: u64) -> Totals {
        let mut totals = Totals {
            state_bytes,
            workspace_bytes: plan.workspace_bytes,
            table_bytes: plan.table_bytes,
            tiles: plan.tiles(),
            operations: plan.operations(),
            ..Totals::default()
        };
        let mut weight_bytes = 0;
        for parameter in &self.parameters {
            let len = parameter.len as u64;
            totals.parameters += len;
            let storage = match (&self.groups[parameter.group].options, parameter.matrices) {
                (GroupOptions::Muon(options), Some(_)) => Some(options.specs[0].storage),
                _ => None,
            };
            let kept = self.groups[parameter.group].options.master_weights();
            let undeclared = if kept { 2 } else { 4 };
            let weight = storage.map_or(undeclared, |storage| storage.weight.bytes() as u64);
            let momentum = storage.map_or(0, |storage| storage.momentum.bytes() as u64);
            weight_bytes += len * weight;
            let skips_alone = self.non_finite == NonFinitePolicy::SkipTile
                && (storage.is_some() || self.backend.adamw_skips_non_finite());
            if !skips_alone {
                totals.scanned_bytes += len * (weight + momentum);
            }
        }
        if self.protection == Protection::Snapshot {
            totals.snapshot_bytes = weight_bytes + state_bytes;
        }
        totals
    }

    fn group_lines(&self, phases: &[GroupPhase]) -> Vec<String> {
        let rest = self.groups.len() - 1;
        let rest_is_used = self.parameters.iter().any(|p| p.group == rest);
        self.groups
            .iter()
            .take(if rest_is_used { rest + 1 } else { rest })
            .zip(phases)
            .map(|(group, phase)| match &group.options {
                GroupOptions::Muon(options) => {
                    let factor = phase.learning_rate_factor;
                    let rate = options.learning_rate.resolve(self.learning_rate) * factor;
                    let schedule = options.schedule.as_ref();
                    let coarse = match options.couples() {
                        (true, true) => format!(
                            "; coarse part: factor {}, momentum {}, {}",
                            options.coarse_factor,
                            options.own_coarse_momentum(),
                            options.coarse
                        ),
                        (true, false) => format!("; coarse part alone: {}", options.coarse),
                        (false, _) => String::new(),
                    };
                    format!(
                        "{}: lr {rate} ({}, times {factor} at this step), decay {}, momentum {} {:?}{}, scale {:?} {}; {}{coarse}",
                        group.pattern,
                        options.learning_rate,
                        options.weight_decay,
                        options.momentum,
                        options.convention,
                        if options.nesterov { " Nesterov" } else { "" },
                        options.scale,
                        options.scale_factor,
                        schedule.map_or_else(String::new, ToString::to_string),
                    )
                }
                GroupOptions::AdamW(options) => format!(
                    "{}: AdamW, lr {} ({}), decay {}{}, betas {:?}, eps {:e}{}",
                    group.pattern,
                    options.learning_rate.resolve(self.learning_rate),
                    options.learning_rate,
                    options.weight_decay,
                    if options.decay_vectors { "" } else { " (not on vectors)" },
                    options.betas,
                    options.epsilon,
                    if options.master_weights { ", master weights" } else { "" },
                ),
            })
            .collect()
    }
}

fn launch_line(launch: &Launch) -> String {
    let elements = launch
        .matrices
        .iter()
        .map(|matrix| matrix.rows * matrix.columns);
    let elements = elements.sum::<usize>().max(1) as f64;
    let coarse = if launch.coarse_operations > 0 {
        format!(
            "; operations an element: {:.0} of the tiles, {:.0} of the coarse part",
            launch.operations as f64 / elements,
            launch.coarse_operations as f64 / elements
        )
    } else {
        String::new()
    };
    format!(
        "{}: {} matrices, {} tiles, {} chunks, {} kernels, {} threads{coarse}; {}",
        launch.spec,
        launch.matrices.len(),
        launch.tiles,
        launch.chunks.len(),
        launch.chunks.iter().map(|chunk| chunk.kernels).sum::<u64>(),
        launch.threads,
        launch.reasons.join("; ")
    )
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shapes: Vec<String> = self
            .parameters
            .iter()
            .map(|p| shape_text(&p.shape))
            .collect();
        let width = |lengths: &mut dyn Iterator<Item = usize>| lengths.max().unwrap_or(0);
        let name = width(&mut self.parameters.iter().map(|p| p.name.len()));
        let shape = width(&mut shapes.iter().map(String::len));
        let group = width(&mut self.parameters.iter().map(|p| p.group.len()));
        let specs: Vec<String> = self
            .parameters
            .iter()
            .map(|p| short_spec(&p.spec))
            .collect();
        let spec = width(&mut specs.iter().map(String::len));
        for ((line, shape_text), spec_text) in self.parameters.iter().zip(&shapes).zip(&specs) {
            writeln!(
                f,
                "{:name$}  {shape_text:>shape$}  {:group$}  {spec_text:spec$}  {:>6} tiles  {:>10}  {}",
                line.name,
                line.group,
                line.tiles,
                bytes_text(line.state_bytes),
                line.reason,
            )?;
        }
        for (title, lines) in [
            ("groups", &self.groups),
            ("launches", &self.launches),
            ("warnings", &self.warnings),
        ] {
            if !lines.is_empty() {
                writeln!(f, "{title}:")?;
            }
            for line in lines {
                writeln!(f, "  {line}")?;
            }
        }
        let totals = &self.totals;
        writeln!(
            f,
            "total: {} numbers, {} tiles, {:.3e} nominal operations a step",
            totals.parameters, totals.tiles, totals.operations as f64
        )?;
        write!(
            f,
            "bytes: state {}, workspace {}, tables {}, snapshot {}, diagnostics {}, probe {}, read by the non-finite policy {}",
            bytes_text(totals.state_bytes),
            bytes_text(totals.workspace_bytes),
            bytes_text(totals.table_bytes),
            bytes_text(totals.snapshot_bytes),
            bytes_text(totals.diagnostics_bytes),
            bytes_text(totals.probe_bytes),
            bytes_text(totals.scanned_bytes),
        )
    }
}

fn shape_text(shape: &[usize]) -> String {
    let sides: Vec<String> = shape.iter().map(ToString::to_string).collect();
    format!("[{}]", sides.join(", "))
}

/// A specification without the fields that have their defaults; launches state them all.
fn short_spec(text: &str) -> String {
    const ALWAYS: [&str; 5] = ["tile", "steps", "power", "coefficients", "recurrence"];
    let defaults = KernelSpec::new(Tile::Full).to_string();
    let stated = |field: &&str| {
        let name = field.split('=').next().unwrap_or_default();
        ALWAYS.contains(&name) || !defaults.split(' ').any(|default| default == *field)
    };
    text.split(' ').filter(stated).collect::<Vec<_>>().join(" ")
}
