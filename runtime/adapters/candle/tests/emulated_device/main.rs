//! The trainer's model, its optimizer's steps taken on the emulated CUDA device.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic)] // Helpers fail their test.
#![allow(dead_code)] // The trainer's modules are taken whole.

#[path = "../../examples/train_gpt/model.rs"]
mod model;
#[path = "../../examples/train_gpt/ops/mod.rs"]
mod ops;
#[path = "../../examples/train_gpt/random.rs"]
mod random;

use std::sync::Arc;

use candle_core::{Tensor, Var};
use candle_nn::{Optimizer, VarMap};
use himuon::cuda::{self, CudaBackend, CudaSlice, CudaStream, Device, DeviceMut, DeviceRef};
use himuon::optimizer::{HiMuonBuilder, MuonOptions};
use himuon::{KernelSpec, ParameterStep};
use himuon_candle::{HiMuon, HiMuonConfig};
use himuon_toolkit::Toolkit;
use himuon_toolkit::emulated::{Isolated, isolated};
use model::{Gpt, GptConfig};

const CONFIG: GptConfig = GptConfig {
    layers: 1,
    width: 32,
    heads: 2,
    context: 8,
};

fn declared(builder: HiMuonBuilder) -> HiMuonBuilder {
    let spec: KernelSpec = "tile=16x32".parse().unwrap();
    builder
        .learning_rate(0.02)
        .group_with("blocks.*.attention.*", MuonOptions::specs([spec.clone()]))
        .group_with("blocks.*.mlp.*", MuonOptions::specs([spec]))
}

/// Two sequences of the text, and the bytes that follow each of theirs.
fn batch(step: usize) -> (Arc<[u8]>, Arc<[u8]>) {
    let text = include_bytes!("main.rs");
    let start = 16 * step;
    (
        text[start..start + 16].into(),
        text[start + 1..start + 17].into(),
    )
}

fn variables(map: &VarMap) -> Vec<(String, Var)> {
    let data = map.data().lock().unwrap();
    let mut all: Vec<_> = data
        .iter()
        .map(|(name, var)| (name.clone(), var.clone()))
        .collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

fn numbers(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// The model on the CPU, its weights and optimizer on the device.
struct OnDevice {
    map: VarMap,
    model: Gpt,
    stream: Arc<CudaStream>,
    weights: Vec<CudaSlice<f32>>,
    optimizer: himuon::HiMuon<Device>,
}

impl OnDevice {
    fn new() -> Self {
        let map = VarMap::new();
        let model = Gpt::new(CONFIG, 1, &map).unwrap();
        let stream = cuda::open(0).unwrap().new_stream().unwrap();
        let all = variables(&map);
        let shapes = all
            .iter()
            .map(|(name, var)| (name.clone(), var.dims().to_vec()));
        let backend = Box::new(CudaBackend::new(&stream).unwrap());
        let optimizer = declared(himuon::HiMuon::builder().parameters(shapes))
            .build_on(backend)
            .unwrap();
        let upload = |var: &Var| stream.clone_htod(&numbers(var)).unwrap();
        OnDevice {
            weights: all.iter().map(|(_, var)| upload(var)).collect(),
            map,
            model,
            stream,
            optimizer,
        }
    }

    /// One step of training; the loss before it.
    fn step(&mut self, step: usize) -> f32 {
        let (inputs, targets) = batch(step);
        let loss = self.model.loss(&inputs, &targets).unwrap();
        let gradients = loss.backward().unwrap();
        let all = variables(&self.map);
        let slices: Vec<_> = all
            .iter()
            .map(|(_, var)| {
                let gradient = gradients.get(var.as_tensor())?;
                Some(self.stream.clone_htod(&numbers(gradient)).unwrap())
            })
            .collect();
        let mut parameters: Vec<_> = self
            .weights
            .iter_mut()
            .zip(&slices)
            .map(|(weight, gradient)| ParameterStep {
                weight: DeviceMut::of(weight, &self.stream),
                gradient: gradient.as_ref().map(|g| DeviceRef::of(g, &self.stream)),
            })
            .collect();
        let report = self.optimizer.step(&mut parameters).unwrap();
        drop(parameters);
        assert_eq!(report.launches, 2, "a whole model's step is two launches");
        for ((_, var), weight) in all.iter().zip(&self.weights) {
            let values = self.stream.clone_dtoh(weight).unwrap();
            let tensor = Tensor::from_vec(values, var.dims(), var.device()).unwrap();
            var.set(&tensor).unwrap();
        }
        loss.to_scalar().unwrap()
    }
}

struct OnCpu {
    map: VarMap,
    model: Gpt,
    optimizer: HiMuon,
}

impl OnCpu {
    fn new() -> Self {
        let map = VarMap::new();
        let model = Gpt::new(CONFIG, 1, &map).unwrap();
        let config = HiMuonConfig::new(&map).with(|builder| declared(builder).threads(1));
        let optimizer = HiMuon::new(map.all_vars(), config).unwrap();
        OnCpu {
            map,
            model,
            optimizer,
        }
    }

    fn step(&mut self, step: usize) -> f32 {
        let (inputs, targets) = batch(step);
        let loss = self.model.loss(&inputs, &targets).unwrap();
        self.optimizer.backward_step(&loss).unwrap();
        loss.to_scalar().unwrap()
    }
}

/// Relative difference of all weights, in the Frobenius norm.
fn gap(left: &VarMap, right: &VarMap) -> f64 {
    let (mut difference, mut size) = (0.0, 0.0);
    for ((_, left), (_, right)) in variables(left).iter().zip(&variables(right)) {
        for (left, right) in numbers(left).iter().zip(numbers(right)) {
            difference += (f64::from(*left) - f64::from(right)).powi(2);
            size += f64::from(*left).powi(2);
        }
    }
    (difference / size).sqrt()
}

/// Of weights of a small language model in f32 after four steps of its training, as [`gap`] measures them. Worst: 1.8e-7
/// after the fourth step, three roundings of an f32.
const GAP: f64 = 5e-7;

#[test]
fn training_on_the_device_follows_the_cpu_and_resumes_there() {
    let toolkit = Toolkit::locate_or_install().unwrap();
    let cache = himuon_toolkit::target_folder().join("cuda-test-cache");
    let environment = [
        (
            "HIMUON_NVRTC_PATH",
            toolkit.nvrtc_library().to_str().unwrap(),
        ),
        ("HIMUON_CACHE_DIR", cache.to_str().unwrap()),
    ];
    let test = "training_on_the_device_follows_the_cpu_and_resumes_there";
    let outcome = isolated(test, &environment, || {
        let (mut device, mut cpu) = (OnDevice::new(), OnCpu::new());
        for step in 0..4 {
            let (on_device, on_cpu) = (device.step(step), cpu.step(step));
            let gap = gap(&device.map, &cpu.map);
            println!(
                "measured: step {step}: loss {on_cpu}, on the device {on_device}; weights {gap:.1e}"
            );
            assert!((on_device - on_cpu).abs() < 1e-5 * on_cpu);
            assert!(gap < GAP, "{gap:e}");
        }
        // The checkpoint of the device goes on here.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        device.optimizer.save_state(&path).unwrap();
        let mut resumed = OnCpu::new();
        for ((_, to), (_, from)) in variables(&resumed.map).iter().zip(&variables(&device.map)) {
            to.set(from).unwrap();
        }
        resumed.optimizer.inner_mut().load_state(&path).unwrap();
        device.step(4);
        resumed.step(4);
        let gap = gap(&device.map, &resumed.map);
        println!("measured: resumed on the CPU, one step later: weights {gap:.1e}");
        assert!(gap < GAP, "{gap:e}");
    });
    if let Isolated::Parent { output } = outcome.unwrap() {
        let figures = output
            .lines()
            .filter_map(|line| Some(&line[line.find("measured: ")?..]));
        figures.for_each(|line| println!("{line}"));
    }
}
