//! What a step takes for parameters that it leaves alone. A test binary of its own: memory is the whole process's.

#![allow(clippy::unwrap_used)]

mod common;

use burn_core as burn;
use burn_core::module::{Module, Param};
use burn_core::tensor::{DType, Tensor};
use burn_optim::GradientsParams;
use common::device;
use himuon_burn::HiMuonConfig;

#[derive(Module, Debug)]
struct Tuned {
    frozen: Param<Tensor<2>>,
    trained: Param<Tensor<2>>,
}

/// Memory of this process in bytes by its name in the system's list; `None` where there is no such list.
fn memory(name: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// What `work` takes beyond what the process has when it begins, at the most.
fn most_taken(work: impl FnOnce()) -> Option<u64> {
    // Starts the count of the greatest memory anew.
    std::fs::write("/proc/self/clear_refs", "5").ok()?;
    let before = memory("VmRSS:")?;
    work();
    Some(memory("VmHWM:")?.saturating_sub(before))
}

#[test]
fn a_frozen_parameter_takes_no_memory_at_a_step() {
    let (rows, columns) = (4096, 8192);
    for dtype in [DType::F32, DType::BF16, DType::F16] {
        let frozen = Tensor::<2>::ones([rows, columns], (&device(), dtype));
        let model = Tuned {
            frozen: Param::from_tensor(frozen).set_require_grad(false),
            trained: Param::from_tensor(Tensor::ones([8, 8], &device())),
        };
        let mut adapter = HiMuonConfig::new().init(&model).unwrap();
        let loss = model.trained.val().square().sum();
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        let taken = most_taken(|| {
            adapter.step(0.02, &model, gradients).unwrap();
        });
        assert_eq!(adapter.last_report().unwrap().missing_gradients, [0]);
        let Some(taken) = taken else {
            println!("SKIPPED: the system does not say what memory this process takes");
            continue;
        };
        let whole = (rows * columns * dtype.size()) as u64;
        println!("{dtype:?}: {taken} bytes taken, {whole} are the parameter's");
        assert!(taken < whole / 4, "{dtype:?}: {taken} of {whole}");
    }
}
