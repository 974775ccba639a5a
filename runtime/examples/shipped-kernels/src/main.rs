//! A program that carries its CUDA kernels compiled: what `build.rs` made is in the binary, `CudaBackend::kernels` hands it
//! over, and a step needs no compiler where it runs. Without a compiler where it is built, it carries the text alone, and a
//! step says so.
//!
//! ```text
//! cargo run -p himuon-example-shipped-kernels
//! ```

use std::error::Error;
use std::process::ExitCode;

use half::bf16;
use himuon::cuda::{self, CudaBackend, CudaError, DeviceMut, DeviceRef};
use himuon::{HiMuon, LayerConfig, ParameterStep, himuon};

/// Attention layers: tiles of 64.
#[himuon(tile = 64, steps = 5, element = "bf16")]
struct Attention;

/// Feed-forward layers: tiles of 128, the square root of the singular values.
#[himuon(tile = 128, power = "1/2", element = "bf16")]
struct Mlp;

/// Names and shapes; the norm is AdamW's, whose kernel is carried too.
const PARAMETERS: [(&str, &[usize]); 3] = [
    ("attention.weight", &[128, 64]),
    ("mlp.weight", &[128, 128]),
    ("norm.weight", &[64]),
];

fn main() -> ExitCode {
    println!(
        "{} specifications are declared",
        Attention::SPECS.len() + Mlp::SPECS.len()
    );
    for kernel in himuon::bundles!() {
        let shipped = match (kernel.cubin, kernel.ptx) {
            (Some(cubin), _) => format!("PTX and {} bytes of machine code", cubin.len()),
            (None, Some(_)) => "PTX".to_owned(),
            (None, None) => "text, to be compiled where it runs".to_owned(),
        };
        println!("{} for {}: {shipped}", kernel.id, kernel.target);
    }
    match cuda::open(0) {
        Err(error @ (CudaError::NoDriver { .. } | CudaError::NoDevice { .. })) => {
            println!("no step: {error}");
            ExitCode::SUCCESS
        }
        Err(error) => failed(&error),
        Ok(_) => step().map_or_else(|error| failed(error.as_ref()), |()| ExitCode::SUCCESS),
    }
}

fn failed(error: &dyn Error) -> ExitCode {
    eprintln!("{error}");
    ExitCode::FAILURE
}

/// One step on device 0.
fn step() -> Result<(), Box<dyn Error>> {
    let stream = cuda::open(0)?.default_stream();
    let backend = CudaBackend::new(&stream)?.kernels(himuon::bundles!());
    let mut optimizer = HiMuon::builder()
        .parameters(PARAMETERS)
        .group::<Attention>("attention.*")
        .group::<Mlp>("mlp.*")
        .build_on(Box::new(backend))?;
    let (mut weights, mut gradients) = (Vec::new(), Vec::new());
    for (_, shape) in &PARAMETERS[..2] {
        let len = shape.iter().product();
        let gradient = (0..len).map(|index| bf16::from_f32((index as f32).sin()));
        weights.push(stream.alloc_zeros::<bf16>(len)?);
        gradients.push(stream.clone_htod(&gradient.collect::<Vec<_>>())?);
    }
    let mut norm = stream.clone_htod(&[1.0_f32; 64])?;
    let norm_gradient = stream.clone_htod(&[0.5_f32; 64])?;
    let mut parameters: Vec<_> = weights
        .iter_mut()
        .zip(&gradients)
        .map(|(weight, gradient)| ParameterStep {
            weight: DeviceMut::of(weight, &stream),
            gradient: Some(DeviceRef::of(gradient, &stream)),
        })
        .collect();
    parameters.push(ParameterStep {
        weight: DeviceMut::of(&mut norm, &stream),
        gradient: Some(DeviceRef::of(&norm_gradient, &stream)),
    });
    let report = optimizer.step(&mut parameters)?;
    drop(parameters);
    let largest = |weight: &[bf16]| {
        weight
            .iter()
            .fold(0.0, |most, w| w.to_f32().abs().max(most))
    };
    for ((name, _), weight) in PARAMETERS.iter().zip(&weights) {
        println!(
            "{name}: {:.4} at most",
            largest(&stream.clone_dtoh(weight)?)
        );
    }
    println!("one step: {} launches, no compiler", report.launches);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_declared_kernel_is_in_the_program() {
        let bundles = himuon::bundles!();
        assert_eq!(
            bundles.len(),
            6,
            "two specifications and AdamW for two targets"
        );
        for spec in Attention::SPECS.iter().chain(Mlp::SPECS) {
            let text = spec.to_string();
            let mut targets: Vec<&str> = bundles
                .iter()
                .filter(|kernel| kernel.specification == text)
                .map(|kernel| kernel.target)
                .collect();
            targets.sort_unstable();
            assert_eq!(targets, ["sm_80", "sm_90a"], "{text}");
        }
        for kernel in bundles {
            assert!(kernel.text.starts_with("// HiMuon kernel"), "{}", kernel.id);
            let is_companion = kernel.specification.is_empty();
            assert_eq!(
                kernel.manifest.contains(kernel.id),
                !is_companion,
                "{}",
                kernel.id
            );
            let entry = if is_companion {
                "himuon_adamw"
            } else {
                "himuon_step"
            };
            assert!(
                kernel.ptx.is_none_or(|ptx| ptx.contains(entry)),
                "{}",
                kernel.id
            );
        }
        if bundles.iter().all(|kernel| kernel.ptx.is_none()) {
            println!("SKIPPED: PTX and cubins: no CUDA compiler where this was built");
        }
    }
}
