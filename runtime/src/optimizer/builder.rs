//! Declaring an optimizer: parameters, groups, options.

use std::collections::BTreeMap;

use himuon_templates::Element;

use super::check::check_learning_rate;
use super::error::BuildError;
use super::group::{AdamWOptions, GroupOptions, Layout, LearningRate, MuonOptions};
use super::placement::{check_groups, check_names, check_parameters, route};
use super::probe::ProbeOptions;
use super::selection::Selection;
use super::{HiMuon, NonFinitePolicy, Protection};
use crate::backend::{Backend, CpuBackend};
use crate::error::Error;
use crate::launch::{ScaleRule, TileCounts};
use crate::memory::Memory;
use crate::registry::LayerConfig;
use crate::schedule::TileSchedule;
use crate::tuning::{TuningTable, hint, tune_missing};

/// The group of the parameters that no other takes.
pub(crate) const REST: &str = "(rest)";

/// Collects what an optimizer is made from; [`HiMuon::builder`] makes one.
#[derive(Debug)]
pub struct HiMuonBuilder {
    parameters: Vec<(String, Vec<usize>)>,
    groups: Vec<(Selection, GroupOptions)>,
    learning_rate: f64,
    adamw: AdamWOptions,
    schedule: TileSchedule,
    layout: Layout,
    budget_bytes: Option<u64>,
    threads: Option<usize>,
    non_finite: NonFinitePolicy,
    protection: Protection,
    diagnostics: bool,
    probe: Option<ProbeOptions>,
    tuning: Option<TuningTable>,
    backend: Option<Box<dyn Backend>>,
}

impl Default for HiMuonBuilder {
    fn default() -> Self {
        HiMuonBuilder {
            parameters: Vec::new(),
            groups: Vec::new(),
            learning_rate: 0.02,
            adamw: AdamWOptions::default(),
            schedule: TileSchedule::default(),
            layout: Layout::default(),
            budget_bytes: None,
            threads: None,
            non_finite: NonFinitePolicy::default(),
            protection: Protection::default(),
            diagnostics: false,
            probe: None,
            tuning: None,
            backend: None,
        }
    }
}

impl HiMuonBuilder {
    /// Declares a parameter, row-major and contiguous. Steps pass parameters in the declared order.
    pub fn parameter(mut self, name: impl Into<String>, shape: &[usize]) -> Self {
        self.parameters.push((name.into(), shape.to_vec()));
        self
    }

    /// Declares parameters by name and shape.
    pub fn parameters<N: Into<String>, S: AsRef<[usize]>>(
        mut self,
        parameters: impl IntoIterator<Item = (N, S)>,
    ) -> Self {
        let declared = parameters.into_iter();
        self.parameters
            .extend(declared.map(|(name, shape)| (name.into(), shape.as_ref().to_vec())));
        self
    }

    /// The matrices whose name matches `pattern` get the tiles that `#[himuon(...)]` declared on `C`.
    ///
    /// The first group that matches takes the parameter; of what a group of tiles leaves out (vectors, embeddings, heads) a
    /// later group of AdamW that matches too, else the options of [`adamw`](Self::adamw).
    /// [`HiMuon::explain`] says of each parameter what became of it and why.
    ///
    /// # Patterns
    /// A pattern that is the name of a parameter means that parameter alone. Otherwise `*` stands for any part of a name, dots
    /// included, `?` for one character, `[ab]` for one of several, `{q,k}` for one of several texts, and `\` before one
    /// of these for the character itself. What is beyond ASCII is several characters for `?` and `[ab]`: `*` matches it. The text of the pattern is the group's name, by which it is explained
    /// and set ([`HiMuon::set_group_learning_rate`]).
    ///
    /// # What names say
    /// Parameters with fewer than two sides longer than 1 go to AdamW. So do those whose names say, in parts between
    /// `.`, `/` or `:` and in any case, that they are
    /// * output heads: a part `lm_head`, `head`, `unembed`, `classifier` or `score`, or one that contains `logits`; or the
    ///   tensor belongs to `output`, `out` or `output_layer` (`model.output.weight`) outside of blocks: no part before it
    ///   ends in a digit;
    /// * embeddings: a part `wte`, `wpe`, `emb`, `tok_emb`, `pos_emb`, `embed_tokens`, `relative_attention_bias` or
    ///   `relative_position_bias_table`; or one that contains `embed`, and no part between it and the
    ///   tensor's own ends in a digit (`time_embed.0.weight` is a layer; `embeddings.0.weight`, in the plural, a table of a
    ///   list); or the tensor belongs to `shared` outside of blocks.
    ///
    /// What wrappers add (`module`, `_orig_mod`, `_fsdp_wrapped_module`, `_checkpoint_wrapped_module`) is passed over. To
    /// map such a matrix all the same, declare a group before with its whole name as the pattern, or
    /// [`MuonOptions::every_matrix`]; to keep another one from being mapped, a group of [`AdamWOptions`] before.
    pub fn group<C: LayerConfig>(self, pattern: impl Into<String>) -> Self {
        self.group_with(pattern, MuonOptions::of::<C>())
    }

    /// As [`group`](Self::group), with options: [`MuonOptions`] or [`AdamWOptions`].
    pub fn group_with(
        mut self,
        pattern: impl Into<String>,
        options: impl Into<GroupOptions>,
    ) -> Self {
        let selection = Selection::Pattern(pattern.into());
        self.groups.push((selection, options.into()));
        self
    }

    /// As [`group_with`](Self::group_with), for parameters that are named one by one; `group` is the name under which
    /// the group is explained and set. Embeddings, heads and vectors among them go to AdamW as with a pattern for many.
    pub fn group_of<N: Into<String>>(
        mut self,
        group: impl Into<String>,
        names: impl IntoIterator<Item = N>,
        options: impl Into<GroupOptions>,
    ) -> Self {
        let names = names.into_iter().map(Into::into).collect();
        let group = group.into();
        let selection = Selection::Names { group, names };
        self.groups.push((selection, options.into()));
        self
    }

    /// The learning rate that groups follow; 0.02 by default.
    pub fn learning_rate(mut self, rate: f64) -> Self {
        self.learning_rate = rate;
        self
    }

    /// Options of the parameters that no group takes, and of those without a matrix that no later group of AdamW matches.
    pub fn adamw(mut self, options: AdamWOptions) -> Self {
        self.adamw = options;
        self
    }

    /// Which declared tile holds at which step, for groups without a schedule of their own.
    pub fn schedule(mut self, schedule: TileSchedule) -> Self {
        self.schedule = schedule;
        self
    }

    /// How the matrices of groups are stored that do not say so themselves; [`Layout::OutIn`] by default.
    pub fn layout(mut self, layout: Layout) -> Self {
        self.layout = layout;
        self
    }

    /// Bytes of scratch memory that no launch may pass; none by default.
    pub fn memory_budget(mut self, bytes: u64) -> Self {
        self.budget_bytes = Some(bytes);
        self
    }

    /// Threads of the CPU backend that [`build`](Self::build) makes, 0 for all that the system offers, as by default. A backend
    /// that is passed has its own.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = Some(threads);
        self
    }

    /// What a NaN or an infinity does.
    pub fn non_finite(mut self, policy: NonFinitePolicy) -> Self {
        self.non_finite = policy;
        self
    }

    /// What a failure in the middle of a step leaves behind.
    pub fn protection(mut self, protection: Protection) -> Self {
        self.protection = protection;
        self
    }

    /// Whether every step reports every tile: see [`HiMuon::tile_diagnostics`]. Costs one pass over each mapped tile.
    pub fn diagnostics(mut self, wanted: bool) -> Self {
        self.diagnostics = wanted;
        self
    }

    /// Looks at a few tiles every so many steps; see [`ProbeOptions`].
    pub fn probe(mut self, options: ProbeOptions) -> Self {
        self.probe = Some(options);
        self
    }

    /// The tuned choices to use, instead of those in the cache folder.
    pub fn tuning(mut self, table: TuningTable) -> Self {
        self.tuning = Some(table);
        self
    }

    /// What computes the steps of [`build`](Self::build), instead of the CPU kernels. [`build_on`](Self::build_on) is told anew.
    pub fn backend(mut self, backend: Box<dyn Backend>) -> Self {
        self.backend = Some(backend);
        self
    }

    /// The published HiMuon's choices (arXiv 2606.27216) for all groups declared so far and for the rest:
    /// learning rate 0.02, momentum 0.95 (heavy ball, Nesterov), decay 0.1 on everything, scale
    /// 0.2 sqrt(T) for every tile, ragged or not; AdamW at 1e-3 with betas (0.95, 0.95) and eps 1e-8.
    ///
    /// Its rounding points are part of a specification: `mode = "reference"`, or [`MuonOptions::paper`].
    pub fn paper(mut self) -> Self {
        self.learning_rate = 0.02;
        self.adamw = AdamWOptions::default()
            .decay_vectors(true)
            .master_weights(self.adamw.master_weights);
        for (_, options) in &mut self.groups {
            match options {
                GroupOptions::Muon(options) => {
                    let published = MuonOptions::paper();
                    *options = MuonOptions {
                        learning_rate: LearningRate::Factor(1.0),
                        weight_decay: published.weight_decay,
                        momentum: published.momentum,
                        convention: published.convention,
                        nesterov: published.nesterov,
                        scale: ScaleRule::Paper,
                        scale_factor: published.scale_factor,
                        row_normalisation: None,
                        ..options.clone()
                    };
                }
                GroupOptions::AdamW(options) => {
                    *options = AdamWOptions::default()
                        .decay_vectors(true)
                        .master_weights(options.master_weights);
                }
            }
        }
        self
    }

    /// Checks every declaration, routes every parameter, and makes the optimizer. State is allocated by the
    /// first step.
    ///
    /// # Errors
    /// The first declaration that cannot be met; see [`BuildError`], and
    /// [`ScheduleError`](crate::schedule::ScheduleError) for a schedule's tile that no config declares.
    pub fn build(mut self) -> Result<HiMuon, Error> {
        let backend = match self.backend.take() {
            Some(backend) => backend,
            None => Box::new(CpuBackend::new(self.threads)?),
        };
        self.build_on(backend)
    }

    /// As [`build`](Self::build), on a device whose tensors need not be in this process's memory.
    ///
    /// # Errors
    /// As [`build`](Self::build).
    pub fn build_on<M: Memory>(self, backend: Box<dyn Backend<M>>) -> Result<HiMuon<M>, Error> {
        let Self {
            parameters,
            groups,
            adamw,
            schedule,
            layout,
            ..
        } = self;
        check_parameters(&parameters)?;
        check_learning_rate(self.learning_rate)?;
        if let Some(probe) = &self.probe {
            probe.check()?;
        }
        let mut warnings = Vec::new();
        let matchers = groups
            .iter()
            .map(|(selection, _)| selection.matcher(&parameters))
            .collect::<Result<Vec<_>, _>>()?;
        check_names(&groups)?;
        let groups = check_groups(groups, adamw, &schedule, layout, &mut warnings)?;
        let parameters = route(parameters, &groups, &matchers, &mut warnings)?;
        for warning in &warnings {
            tracing::warn!("{warning}");
        }
        let tunes = self.tuning.is_none();
        let tuning = match self.tuning {
            Some(table) => table,
            None => TuningTable::load_or_empty(backend.fingerprint()),
        };
        let mut optimizer = HiMuon {
            parameters,
            groups,
            learning_rate: self.learning_rate,
            step: 0,
            backend,
            tuning,
            budget_bytes: self.budget_bytes,
            non_finite: self.non_finite,
            protection: self.protection,
            diagnostics: self.diagnostics,
            probe: self.probe,
            probe_pool: None,
            plans: BTreeMap::new(),
            snapshot: None,
            torn: None,
            recorded: None,
            loaded_ahead: false,
            resumed_kernels: BTreeMap::new(),
            counts: TileCounts::default(),
            warnings,
        };
        if tunes {
            let jobs = optimizer.tune_jobs();
            tune_missing(
                &mut optimizer.tuning,
                || optimizer.backend.tuning_target(),
                &jobs,
            );
            hint(&optimizer.tuning, jobs.iter().map(|job| &job.spec));
        }
        // A budget or a kernel that cannot be had is known before the first step.
        optimizer.plan_for(0)?;
        optimizer.check_schedules()?;
        Ok(optimizer)
    }
}

/// The weight's type of a group of tiles.
pub(crate) fn weight_element(options: &MuonOptions) -> Element {
    options.specs[0].storage.weight
}

/// A specification that is refused, with its text.
pub(crate) fn refused(
    group: &str,
    spec: &himuon_templates::KernelSpec,
    reason: &str,
) -> BuildError {
    BuildError::Spec {
        group: group.to_owned(),
        reason: format!("{spec}: {reason}"),
    }
}
