//! The same on a real GPU, where there is one.

use himuon::cuda;

use crate::graphs::replays_are_eager_steps;
use crate::model::{spec, tile};
use crate::steps::follows_the_cpu;

/// Whether this process has a GPU; says so where it has none.
fn has_gpu() -> bool {
    match cuda::devices() {
        Ok(devices) => {
            println!(
                "on {}, driver {}",
                devices[0].name,
                devices[0].driver_version()
            );
            true
        }
        Err(error) => {
            println!("SKIPPED: no GPU to run on ({error})");
            false
        }
    }
}

#[test]
fn a_gpu_follows_the_cpu() {
    if has_gpu() {
        follows_the_cpu(&[tile(16)], 2, 22);
        follows_the_cpu(&[spec("tile=16 power=1/2")], 4, 22);
    }
}

#[test]
fn a_gpu_replays_a_graph_as_eager_steps() {
    if has_gpu() {
        replays_are_eager_steps();
    }
}
