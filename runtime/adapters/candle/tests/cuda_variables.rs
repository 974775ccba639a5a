//! Variables on a CUDA device, where there is one and candle was built for it.
#![cfg(feature = "cuda")]
#![allow(clippy::unwrap_used)] // Helpers fail their test.

use candle_core::{DType, Device, Module, Tensor};
use candle_nn::{Optimizer, VarBuilder, VarMap, linear};
use himuon::KernelSpec;
use himuon::optimizer::MuonOptions;
use himuon_candle::{CudaHiMuon, HiMuon, HiMuonConfig};

/// The losses of four steps and the weights after them.
fn train(device: &Device, cuda: bool) -> (Vec<f32>, Vec<f32>) {
    let variables = VarMap::new();
    let vb = VarBuilder::from_varmap(&variables, DType::F32, device);
    let model = linear(40, 24, vb.pp("projection")).unwrap();
    let numbers = |len: usize| (0..len).map(|i| ((i * 37 % 101) as f32 - 50.0) / 50.0);
    for (name, variable) in variables.data().lock().unwrap().iter() {
        let values: Vec<f32> = numbers(variable.elem_count()).collect();
        let tensor = Tensor::from_vec(values, variable.dims(), device).unwrap();
        variable
            .set(&tensor)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    let spec: KernelSpec = "tile=16".parse().unwrap();
    let config = HiMuonConfig::new(&variables).with(|builder| {
        builder
            .group_with("*.weight", MuonOptions::specs([spec]))
            .learning_rate(0.01)
    });
    let mut optimizer: Box<dyn FnMut(&Tensor)> = if cuda {
        let mut optimizer = CudaHiMuon::new(variables.all_vars(), config).unwrap();
        Box::new(move |loss| optimizer.backward_step(loss).unwrap())
    } else {
        let mut optimizer = HiMuon::new(variables.all_vars(), config).unwrap();
        Box::new(move |loss| optimizer.backward_step(loss).unwrap())
    };
    let input = Tensor::from_vec(numbers(8 * 40).collect(), (8, 40), device).unwrap();
    let mut losses = Vec::new();
    for _ in 0..4 {
        let loss = model
            .forward(&input)
            .unwrap()
            .sqr()
            .unwrap()
            .mean_all()
            .unwrap();
        losses.push(loss.to_scalar::<f32>().unwrap());
        optimizer(&loss);
    }
    let weight = model.weight().flatten_all().unwrap().to_vec1().unwrap();
    (losses, weight)
}

#[test]
fn steps_on_the_device_follow_the_cpu() {
    let device = match Device::new_cuda(0) {
        Ok(device) => device,
        Err(error) => return println!("SKIPPED: no CUDA device ({error})"),
    };
    let (on_cpu, weight) = train(&Device::Cpu, false);
    let (on_device, found) = train(&device, true);
    for (a, b) in on_cpu
        .iter()
        .zip(&on_device)
        .chain(weight.iter().zip(&found))
    {
        assert!(
            (a - b).abs() < 1e-3 * a.abs().max(0.1),
            "{a} on the CPU, {b} on the device"
        );
    }
}
