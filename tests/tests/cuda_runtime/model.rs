//! A small model whose tensors lie on the device, beside the same model on the CPU.

use std::sync::Arc;

use himuon::cuda::{self, CudaBackend, CudaSlice, CudaStream, Device, DeviceMut, DeviceRef};
use himuon::optimizer::{HiMuonBuilder, MuonOptions, StepReport, View};
use himuon::tensor::{TensorMut, TensorRef};
use himuon::tuning::{DeviceFingerprint, TuningTable};
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
            .threads(1)
            .tuning(TuningTable::new(DeviceFingerprint::cpu()));
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
        let pairs = self.weights.iter_mut().zip(&gradients);
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

/// The tensors of a model on the emulated device.
pub(crate) struct OnDevice {
    pub(crate) model: Model,
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
        let stream = cuda::open(ordinal).unwrap().new_stream().unwrap();
        let upload = |numbers: &Vec<f32>| stream.clone_htod(numbers).unwrap();
        OnDevice {
            weights: model.weights.iter().map(upload).collect(),
            gradients: model.weights.iter().map(|w| Some(upload(w))).collect(),
            model: model.clone(),
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
        for (slice, gradient) in self.gradients.iter_mut().zip(self.model.gradients(step)) {
            if let Some(slice) = slice {
                self.stream.memcpy_htod(&gradient, slice).unwrap();
            }
        }
    }

    pub(crate) fn parameters(&mut self) -> Vec<ParameterStep<'_, Device>> {
        let pairs = self.weights.iter_mut().zip(&self.gradients);
        pairs
            .map(|(weight, gradient)| ParameterStep {
                weight: DeviceMut::of(weight),
                gradient: gradient.as_ref().map(DeviceRef::of),
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

    pub(crate) fn read(&self) -> Vec<Vec<f32>> {
        let weights = self.weights.iter();
        // An injected fault strikes once.
        let read = |weight| {
            let again = |_| self.stream.clone_dtoh(weight);
            self.stream.clone_dtoh(weight).or_else(again).unwrap()
        };
        weights.map(read).collect()
    }

    pub(crate) fn bits(&self) -> Vec<u32> {
        let weights = self.read();
        weights.iter().flatten().map(|w| w.to_bits()).collect()
    }
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
