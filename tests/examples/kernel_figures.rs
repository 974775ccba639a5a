//! The tables of `docs/cuda-kernels.md`: what the resident kernels cost a whole tile, and what they take of each
//! architecture.
//!
//! ```text
//! cargo run -p himuon-tests --example kernel_figures
//! ```

/// Tiles, and variants beside the default one.
#[cfg(unix)]
const ROWS: &[(u32, Option<&str>)] = &[
    (16, None),
    (32, None),
    (48, None),
    (64, None),
    (
        64,
        Some("resident:rows=16,chunk=5,tiles=1,symmetric,keep-gram"),
    ),
    (96, None),
    (
        128,
        Some("resident:rows=16,chunk=5,tiles=1,symmetric,keep-gram"),
    ),
    (
        128,
        Some("resident:rows=32,chunk=1,tiles=1,symmetric,reload-x,stage-momentum"),
    ),
    (
        128,
        Some("resident:rows=32,chunk=2,tiles=1,symmetric,reload-x,stage-momentum"),
    ),
];

/// A failure of any kind, in words.
#[cfg(unix)]
type Outcome = Result<(), Box<dyn std::error::Error>>;

#[cfg(unix)]
fn main() -> Outcome {
    let compiler = himuon_tests::cuda::figures::compiler()?;
    whole_tiles(&compiler)?;
    println!();
    architectures(&compiler)
}

/// Registers of step / map and spilled bytes of each stock tile with bf16 operands.
#[cfg(unix)]
fn architectures(compiler: &himuon_codegen::compile::Compiler) -> Outcome {
    use himuon_codegen::pipeline::{TARGETS, emit};

    let tiles = [16, 32, 48, 64, 96, 128];
    let header: Vec<String> = tiles.iter().map(|tile| format!("T={tile}")).collect();
    println!("| | {} |", header.join(" | "));
    println!("|---{}|", "|---".repeat(tiles.len()));
    // Before 8.0 tensor cores take no bf16.
    for (target, _) in TARGETS.into_iter().filter(|(target, _)| *target != "sm_75") {
        let mut cells = Vec::new();
        for tile in tiles {
            let spec = format!("tile={tile} element=bf16").parse()?;
            let folder = tempfile::tempdir()?;
            let emitted = emit(&spec, None, target, Some(compiler), folder.path())?;
            let of = |entry: &str| {
                let mut all = emitted.manifest.resources.iter();
                let found = all.find(|resources| resources.entry == entry);
                found.map_or((0, 0), |found| {
                    (
                        found.registers,
                        found.spill_store_bytes + found.spill_load_bytes,
                    )
                })
            };
            let (step, map) = (of("himuon_step"), of("himuon_map"));
            cells.push(format!("{} / {}, {}", step.0, map.0, step.1 + map.1));
        }
        println!("| {target} | {} |", cells.join(" | "));
    }
    Ok(())
}

#[cfg(unix)]
fn whole_tiles(compiler: &himuon_codegen::compile::Compiler) -> Outcome {
    use himuon_tests::cuda::CudaBackend;
    use himuon_tests::cuda::figures::{Figures, figures};

    println!(
        "| T | rows a warp | entry | warps | registers | spilled bytes | tensor instructions | wavefronts | ideal \
         | instructions issued | bytes read (least) | bytes written (least) |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|");
    for &(tile, variant) in ROWS {
        let mut backend = CudaBackend::new("sm_80")?.without_reports();
        if let Some(variant) = variant {
            backend = backend.with_variant(variant.parse()?);
        }
        let spec = format!("tile={tile} element=bf16").parse()?;
        for found in figures(&mut backend, compiler, &spec)? {
            let Figures {
                entry,
                warps,
                resources,
                issued,
                counters,
                least_bytes: (read, written),
            } = &found;
            println!(
                "| {tile} | {} | {entry} | {warps} | {} | {} | {} | {} | {} | {issued} | {} ({read}) | {} ({written}) |",
                tile.next_multiple_of(16) / warps,
                resources.registers,
                resources.spill_store_bytes + resources.spill_load_bytes,
                found.tensor_instructions(),
                counters.shared_wavefronts,
                counters.shared_ideal_wavefronts,
                found.bytes_read(),
                found.bytes_written(),
            );
        }
    }
    Ok(())
}

#[cfg(not(unix))]
fn main() {
    println!("SKIPPED: the emulated driver is built on Unix only");
}
