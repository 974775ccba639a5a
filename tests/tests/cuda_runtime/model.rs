//! A small model whose tensors lie on the device, beside the same model on the CPU.

use std::sync::Arc;

use himuon::cuda::{self, CudaBackend, CudaSlice, CudaStream, Device, DeviceMut, DeviceRef};
use himuon::launch::TileDiagnostics;
use himuon::optimizer::{HiMuonBuilder, MuonOptions, StepReport, View};
use himuon::templates::Element;
use himuon::tensor::{TensorMut, TensorRef};
use himuon::{Error, HiMuon, KernelSpec, ParameterStep, Tile};
use himuon_tests::random::Random;

/// Names, shapes, and weights in f32.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub(crate) parameters: Vec<(String, Vec<usize>)>,
    pub(crate) weights: Vec<Vec<f32>>,
    pub(crate) seed: u64,
}

pub(crate) fn normal(seed: u64, len: usize) -> Vec<f32> {
    let mut random = Random::new(seed);
    (0..len).map(|_| random.normal() as f32).collect()
}

impl Model {
    pub(crate) fn new(parameters: &[(&str, &[usize])], seed: u64) -> Self {
        let parameters: Vec<_> = parameters
            .iter()
            .map(|(name, shape)| ((*name).to_owned(), shape.to_vec()))
            .collect();
        let weights = parameters
            .iter()
            .enumerate()
            .map(|(index, (_, shape))| normal(seed + index as u64, shape.iter().product()))
            .collect();
        Model {
            parameters,
            weights,
            seed,
        }
    }

    /// An embedding, two ragged matrices, a stack, a norm.
    pub(crate) fn mixed() -> Self {
        Model::new(
            &[
                ("embed.weight", &[30, 20]),
                ("blocks.0.q.weight", &[20, 20]),
                ("blocks.0.up.weight", &[45, 20]),
                ("blocks.0.experts", &[2, 18, 33]),
                ("blocks.0.norm.weight", &[20]),
            ],
            11,
        )
    }

    pub(crate) fn gradients(&self, step: u64) -> Vec<Vec<f32>> {
        self.weights
            .iter()
            .enumerate()
            .map(|(index, weight)| {
                normal(1000 * (step + 1) + index as u64 + self.seed, weight.len())
            })
            .collect()
    }

    /// Declares the parameters, with these specifications for the blocks.
    pub(crate) fn builder(&self, specs: &[KernelSpec]) -> HiMuonBuilder {
        let blocks = || MuonOptions::specs(specs.to_vec());
        let mut builder = HiMuon::builder()
            .parameters(self.parameters.iter().map(|(name, shape)| (name, shape)))
            .threads(1);
        for (pattern, options) in [
            ("*.experts", blocks().view(View::Stack)),
            ("blocks.*", blocks()),
        ] {
            if self.parameters.iter().any(|(name, _)| {
                name.ends_with(".experts") == (pattern == "*.experts") && name.starts_with("blocks")
            }) {
                builder = builder.group_with(pattern, options);
            }
        }
        builder
    }

    /// One step on the CPU.
    pub(crate) fn step_on_cpu(&mut self, optimizer: &mut HiMuon) -> StepReport {
        let gradients = self.gradients(optimizer.steps_taken());
        self.step_on_cpu_with(optimizer, &gradients)
    }

    /// One step on the CPU with these gradients.
    pub(crate) fn step_on_cpu_with(
        &mut self,
        optimizer: &mut HiMuon,
        gradients: &[Vec<f32>],
    ) -> StepReport {
        let pairs = self.weights.iter_mut().zip(gradients);
        let mut parameters: Vec<_> = pairs
            .map(|(weight, gradient)| ParameterStep {
                weight: TensorMut::F32(weight),
                gradient: Some(TensorRef::F32(gradient)),
            })
            .collect();
        optimizer.step(&mut parameters).unwrap()
    }
}

pub(crate) fn tile(edge: u32) -> KernelSpec {
    KernelSpec::new(Tile::square(edge))
}

pub(crate) fn spec(text: &str) -> KernelSpec {
    text.parse().unwrap()
}

/// What stands between the rows of strided tensors.
const BETWEEN: f32 = -7.25;

/// The tensors of a model on the emulated device.
pub(crate) struct OnDevice {
    pub(crate) model: Model,
    /// By parameter: numbers between two rows of its tensors.
    gaps: Vec<usize>,
    pub(crate) stream: Arc<CudaStream>,
    pub(crate) weights: Vec<CudaSlice<f32>>,
    pub(crate) gradients: Vec<Option<CudaSlice<f32>>>,
}

impl OnDevice {
    pub(crate) fn new(model: &Model) -> Self {
        Self::on(0, model)
    }

    /// On the device of this number.
    pub(crate) fn on(ordinal: usize, model: &Model) -> Self {
        Self::strided(ordinal, model, vec![0; model.parameters.len()])
    }

    /// With so many numbers between the rows of each parameter's tensors.
    pub(crate) fn strided(ordinal: usize, model: &Model, gaps: Vec<usize>) -> Self {
        let stream = cuda::open(ordinal).unwrap().new_stream().unwrap();
        let upload = |(index, numbers): (usize, &Vec<f32>)| {
            let spread = spread(numbers, columns(model, index), gaps[index]);
            stream.clone_htod(&spread).unwrap()
        };
        let weights = || model.weights.iter().enumerate();
        OnDevice {
            weights: weights().map(upload).collect(),
            gradients: weights().map(|weight| Some(upload(weight))).collect(),
            model: model.clone(),
            gaps,
            stream,
        }
    }

    pub(crate) fn backend(&self) -> Box<CudaBackend> {
        Box::new(CudaBackend::new(&self.stream).unwrap())
    }

    pub(crate) fn optimizer(&self, builder: HiMuonBuilder) -> HiMuon<Device> {
        builder.build_on(self.backend()).unwrap()
    }

    /// Puts a step's gradients where those of the last one were.
    pub(crate) fn load_gradients(&mut self, step: u64) {
        self.load_scaled_gradients(step, 1.0);
    }

    /// As `load_gradients`, of a loss that was multiplied by `factor`.
    pub(crate) fn load_scaled_gradients(&mut self, step: u64, factor: f32) {
        let mut gradients = self.model.gradients(step);
        gradients.iter_mut().flatten().for_each(|g| *g *= factor);
        self.put_gradients(&gradients);
    }

    fn put_gradients(&mut self, gradients: &[Vec<f32>]) {
        for (index, (slice, gradient)) in self.gradients.iter_mut().zip(gradients).enumerate() {
            if let Some(slice) = slice {
                let spread = spread(gradient, columns(&self.model, index), self.gaps[index]);
                self.stream.memcpy_htod(&spread, slice).unwrap();
            }
        }
    }

    pub(crate) fn parameters(&mut self) -> Vec<ParameterStep<'_, Device>> {
        let (model, gaps, stream) = (&self.model, &self.gaps, &self.stream);
        let pairs = self.weights.iter_mut().zip(&self.gradients).enumerate();
        pairs
            .map(|(index, (weight, gradient))| {
                let (columns, gap) = (columns(model, index), gaps[index]);
                let weight = DeviceMut::of(weight, stream);
                let gradient = gradient.as_ref().map(|g| DeviceRef::of(g, stream));
                if gap == 0 {
                    return ParameterStep { weight, gradient };
                }
                let rows = model.weights[index].len() / columns;
                let leading = columns + gap;
                // SAFETY: `spread` made room for rows * leading numbers; the slices are borrowed for as long.
                unsafe {
                    let at = |address| (address, Element::F32, rows, columns, leading);
                    let (a, b, c, d, e) = at(weight.address());
                    let weight = DeviceMut::strided(a, b, c, d, e);
                    let gradient = gradient.map(|gradient| {
                        let (a, b, c, d, e) = at(gradient.address());
                        DeviceRef::strided(a, b, c, d, e)
                    });
                    ParameterStep { weight, gradient }
                }
            })
            .collect()
    }

    pub(crate) fn try_step(&mut self, optimizer: &mut HiMuon<Device>) -> Result<StepReport, Error> {
        self.load_gradients(optimizer.steps_taken());
        optimizer.step(&mut self.parameters())
    }

    pub(crate) fn step(&mut self, optimizer: &mut HiMuon<Device>) -> StepReport {
        self.try_step(optimizer).unwrap()
    }

    /// A step with these gradients.
    pub(crate) fn step_with(&mut self, optimizer: &mut HiMuon<Device>, gradients: &[Vec<f32>]) {
        self.put_gradients(gradients);
        optimizer.step(&mut self.parameters()).unwrap();
    }

    pub(crate) fn read(&self) -> Vec<Vec<f32>> {
        let weights = self.weights.iter().enumerate();
        // An injected fault strikes once.
        let read = |(index, weight): (usize, _)| {
            let again = |_| self.stream.clone_dtoh(weight);
            let numbers = self.stream.clone_dtoh(weight).or_else(again).unwrap();
            gathered(&numbers, columns(&self.model, index), self.gaps[index])
        };
        weights.map(read).collect()
    }

    pub(crate) fn bits(&self) -> Vec<u32> {
        let weights = self.read();
        weights.iter().flatten().map(|w| w.to_bits()).collect()
    }
}

/// Replays a graph of so many steps beside ordinary ones: the weights have the same bits after each.
pub(crate) fn replays_are_eager(model: &Model, builder: impl Fn() -> HiMuonBuilder, steps: u64) {
    let (mut eager, mut captured) = (OnDevice::new(model), OnDevice::new(model));
    let mut one_by_one = eager.optimizer(builder());
    let mut replayed = captured.optimizer(builder());
    let graph = replayed.capture(&mut captured.parameters(), 0..steps);
    let mut graph = graph.unwrap();
    for step in 0..steps {
        eager.step(&mut one_by_one);
        captured.load_gradients(step);
        let report = replayed.replay(&mut graph, &mut captured.parameters());
        assert_eq!(report.unwrap().step, step);
        assert_eq!(captured.bits(), eager.bits(), "step {step}");
    }
    replayed.check_replays().unwrap();
}

/// Numbers of a row: of the last dimension.
fn columns(model: &Model, parameter: usize) -> usize {
    model.parameters[parameter].1.last().copied().unwrap_or(1)
}

/// The rows with a gap behind each.
fn spread(numbers: &[f32], columns: usize, gap: usize) -> Vec<f32> {
    let rows = numbers.chunks_exact(columns);
    rows.flat_map(|row| row.iter().copied().chain(std::iter::repeat_n(BETWEEN, gap)))
        .collect()
}

/// The rows without the gaps, which nobody may have touched.
fn gathered(numbers: &[f32], columns: usize, gap: usize) -> Vec<f32> {
    let rows = numbers.chunks_exact(columns + gap);
    rows.flat_map(|row| {
        let (row, between) = row.split_at(columns);
        assert!(between.iter().all(|number| *number == BETWEEN));
        row.iter().copied()
    })
    .collect()
}

/// Largest difference between the updates that two sets of weights have had since `start`, as a part of the
/// update's Frobenius norm.
pub(crate) fn update_gap(start: &[Vec<f32>], left: &[Vec<f32>], right: &[Vec<f32>]) -> f64 {
    let gap = |start: &Vec<f32>, left: &Vec<f32>, right: &Vec<f32>| {
        let (mut difference, mut size) = (0.0, 0.0);
        for ((start, left), right) in start.iter().zip(left).zip(right) {
            difference += (f64::from(*left) - f64::from(*right)).powi(2);
            size += (f64::from(*left) - f64::from(*start)).powi(2);
        }
        if size > 0.0 {
            (difference / size).sqrt()
        } else {
            difference.sqrt()
        }
    };
    let triples = start.iter().zip(left).zip(right);
    triples
        .map(|((start, left), right)| gap(start, left, right))
        .fold(0.0, f64::max)
}

/// Largest relative difference between what is reported of the same tiles.
pub(crate) fn report_gap(left: &[TileDiagnostics], right: &[TileDiagnostics]) -> f32 {
    assert!(!left.is_empty() && left.len() == right.len());
    let mut worst = 0.0_f32;
    for (left, right) in left.iter().zip(right) {
        for (expected, found) in [
            (left.norm, right.norm),
            (left.inner_product, right.inner_product),
            (left.mapped_norm_squared, right.mapped_norm_squared),
        ] {
            let gap = (expected - found).abs() / expected;
            assert!(gap.is_finite(), "{left:?} {right:?}");
            worst = worst.max(gap);
        }
    }
    worst
}
