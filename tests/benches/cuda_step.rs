//! Whole optimizer steps of two models on a GPU: full Muon, tiles of several sizes, AdamW. Times are those of CUDA
//! events around the step. Without a GPU it says SKIPPED; the emulated driver is no place to measure.
#![allow(clippy::unwrap_used, unsafe_code)] // A benchmark without its device stops.

use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use cudarc::driver::sys::CUevent_flags::CU_EVENT_DEFAULT;
use half::bf16;
use himuon::cuda::{self, CudaBackend, CudaSlice, CudaStream, Device, DeviceMut, DeviceRef};
use himuon::optimizer::{AdamWOptions, GroupOptions, MuonOptions};
use himuon::{HiMuon, KernelSpec, ParameterStep};
use himuon_tests::random::Random;

/// Matrices of the blocks, by shape.
struct Layers {
    name: &'static str,
    blocks: usize,
    shapes: &'static [(usize, usize)],
}

const MODELS: [Layers; 2] = [
    Layers {
        name: "gpt2-small",
        blocks: 12,
        shapes: &[(2304, 768), (768, 768), (3072, 768), (768, 3072)],
    },
    Layers {
        name: "llama-1b",
        blocks: 16,
        shapes: &[
            (2048, 2048),
            (512, 2048),
            (512, 2048),
            (2048, 2048),
            (8192, 2048),
            (8192, 2048),
            (2048, 8192),
        ],
    },
];

const METHODS: [&str; 6] = ["adamw", "64", "128", "256", "512", "full"];

struct Bench {
    stream: Arc<CudaStream>,
    optimizer: HiMuon<Device>,
    weights: Vec<CudaSlice<bf16>>,
    gradients: Vec<CudaSlice<bf16>>,
}

impl Bench {
    fn new(stream: &Arc<CudaStream>, layers: &Layers, method: &str) -> Self {
        let shapes: Vec<_> = (0..layers.blocks).flat_map(|_| layers.shapes).collect();
        let mut builder = HiMuon::builder();
        for (index, (rows, columns)) in shapes.iter().enumerate() {
            builder = builder.parameter(format!("blocks.{index}.weight"), &[*rows, *columns]);
        }
        let options: GroupOptions = match method {
            "adamw" => AdamWOptions::default().into(),
            tile => {
                let spec: KernelSpec = format!("tile={tile} element=bf16").parse().unwrap();
                MuonOptions::specs([spec]).into()
            }
        };
        let backend = Box::new(CudaBackend::new(stream).unwrap());
        let optimizer = builder.group_with("*", options).build_on(backend).unwrap();
        // Normal numbers, a million of them again and again: never zeros.
        let mut random = Random::new(1);
        let block: Vec<bf16> = (0..1 << 20)
            .map(|_| bf16::from_f64(0.02 * random.normal()))
            .collect();
        let fill = |len: usize| {
            let numbers: Vec<bf16> = block.iter().copied().cycle().take(len).collect();
            stream.clone_htod(&numbers).unwrap()
        };
        Bench {
            weights: shapes
                .iter()
                .map(|(rows, columns)| fill(rows * columns))
                .collect(),
            gradients: shapes
                .iter()
                .map(|(rows, columns)| fill(rows * columns))
                .collect(),
            stream: Arc::clone(stream),
            optimizer,
        }
    }

    fn step(&mut self) {
        let pairs = self.weights.iter_mut().zip(&self.gradients);
        let mut parameters: Vec<_> = pairs
            .map(|(weight, gradient)| ParameterStep {
                weight: DeviceMut::of(weight, &self.stream),
                gradient: Some(DeviceRef::of(gradient, &self.stream)),
            })
            .collect();
        self.optimizer.step(&mut parameters).unwrap();
    }

    /// The device's time for some steps.
    fn steps(&mut self, count: u64) -> Duration {
        let mark = |stream: &CudaStream| stream.record_event(Some(CU_EVENT_DEFAULT)).unwrap();
        let start = mark(&self.stream);
        (0..count).for_each(|_| self.step());
        let end = mark(&self.stream);
        Duration::from_secs_f64(f64::from(start.elapsed_ms(&end).unwrap()) / 1e3)
    }
}

fn steps(criterion: &mut Criterion) {
    let device = match cuda::devices() {
        Ok(devices) => devices.into_iter().next(),
        Err(error) => {
            println!("SKIPPED: no GPU to measure on ({error})");
            return;
        }
    };
    let Some(device) = device.filter(|device| !device.name.to_lowercase().contains("emulat"))
    else {
        println!("SKIPPED: the device is an emulator, whose times mean nothing");
        return;
    };
    println!("on {}, driver {}", device.name, device.driver_version());
    let context = cuda::open(0).unwrap();
    // Some hundred events a step would be timed with it.
    // SAFETY: all memory is made, used and freed in the order of the one stream.
    unsafe { context.disable_event_tracking() };
    let stream = context.new_stream().unwrap();
    for layers in &MODELS {
        let mut group = criterion.benchmark_group(layers.name);
        group.sample_size(10);
        let numbers: usize = layers
            .shapes
            .iter()
            .map(|(rows, columns)| rows * columns)
            .sum();
        group.throughput(Throughput::Elements((numbers * layers.blocks) as u64));
        for method in METHODS {
            let mut bench = Bench::new(&stream, layers, method);
            bench.step();
            group.bench_function(method, |b| b.iter_custom(|count| bench.steps(count)));
        }
        group.finish();
    }
}

criterion_group!(benches, steps);
criterion_main!(benches);
