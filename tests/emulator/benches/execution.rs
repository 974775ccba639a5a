//! Speed of execution: one T = 64, K = 5 Newton-Schulz tile, in warp instructions a second on one thread.

#![allow(
    clippy::panic,
    reason = "a bench that cannot run has nothing else to say"
)]
#![allow(missing_docs, reason = "criterion_main")]

#[path = "../tests/common/mod.rs"]
mod common;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use half::bf16;
use himuon_emulator::{Counters, Device, ExecutionOptions, Module};

use common::{Numbers, Params, Shape, compile, device_for, launch, le_bytes16, upload};

const SOURCE: &str = include_str!("../tests/fixtures/newton_schulz.cu");
const TILE: usize = 64;

struct Tile {
    device: Device,
    module: Module,
    params: Params,
}

impl Tile {
    fn new() -> Self {
        let ptx = compile(
            SOURCE,
            "sm_80",
            &[format!("TILE={TILE}"), "STEPS=5".to_owned()],
        );
        let module = Module::parse(&ptx).unwrap_or_else(|error| panic!("{error}"));
        let device = device_for("sm_80");
        let mut numbers = Numbers(1);
        let input: Vec<u16> = (0..TILE * TILE)
            .map(|_| bf16::from_f64(numbers.normal()).to_bits())
            .collect();
        let source = upload(&device, &le_bytes16(&input));
        let target = upload(&device, &le_bytes16(&input));
        let edge = TILE as u32;
        let params = Params::new()
            .pointer(source)
            .pointer(target)
            .u32(edge)
            .u32(edge)
            .u32(edge);
        let params = params.f32(3.4445).f32(-4.775).f32(2.0315).f32(1e-7);
        Self {
            device,
            module,
            params,
        }
    }

    fn run(&self, checks: bool) -> Counters {
        let shape = Shape {
            grid: [1, 1, 1],
            block: [2 * TILE as u32, 1, 1],
            dynamic_shared_bytes: (4 * TILE * TILE + TILE / 4) as u32,
        };
        let options = ExecutionOptions {
            checks,
            threads: 1,
            ..ExecutionOptions::default()
        };
        launch(
            &self.device,
            &self.module,
            "newton_schulz",
            shape,
            &self.params,
            options,
        )
        .unwrap_or_else(|fault| panic!("{fault}"))
    }
}

fn tile(criterion: &mut Criterion) {
    let tile = Tile::new();
    let mut group = criterion.benchmark_group("newton_schulz_t64_k5");
    group.throughput(Throughput::Elements(tile.run(true).warp_instructions));
    group.sample_size(20);
    group.bench_function("checked", |bencher| bencher.iter(|| tile.run(true)));
    group.bench_function("unchecked", |bencher| bencher.iter(|| tile.run(false)));
    group.finish();
}

criterion_group!(benches, tile);
criterion_main!(benches);
