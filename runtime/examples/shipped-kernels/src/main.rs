//! A program that carries its CUDA kernels compiled: what `build.rs` made is in the binary, and no compiler is needed
//! where it runs. Without a compiler where it is built, it carries the text.
//!
//! ```text
//! cargo run -p himuon-example-shipped-kernels
//! ```

use himuon::{LayerConfig, himuon};

/// Attention layers: tiles of 64.
#[himuon(tile = 64, steps = 5, element = "bf16")]
struct Attention;

/// Feed-forward layers: tiles of 128, the square root of the singular values.
#[himuon(tile = 128, power = "1/2", element = "bf16")]
struct Mlp;

fn main() {
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_declared_kernel_is_in_the_program() {
        let bundles = himuon::bundles!();
        assert_eq!(bundles.len(), 4, "two specifications for two targets");
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
            assert!(kernel.manifest.contains(kernel.id), "{}", kernel.id);
            assert_eq!(
                kernel.ptx.is_some_and(|ptx| ptx.contains("himuon_step")),
                kernel.ptx.is_some()
            );
        }
        if bundles.iter().all(|kernel| kernel.ptx.is_none()) {
            println!("SKIPPED: PTX and cubins: no CUDA compiler where this was built");
        }
    }
}
