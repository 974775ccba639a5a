//! The table of `docs/cuda-kernels.md`: what the resident kernels cost a whole tile.
//!
//! ```text
//! cargo run -p himuon-tests --bin kernel_figures
//! ```

/// Tiles, and variants beside the default one.
#[cfg(unix)]
const ROWS: [(u32, Option<&str>); 8] = [
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
];

#[cfg(unix)]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    use himuon_tests::cuda::CudaBackend;
    use himuon_tests::cuda::figures::{Figures, compiler, figures};

    println!(
        "| T | rows a warp | entry | warps | registers | spilled bytes | tensor instructions | wavefronts | ideal \
         | instructions issued | bytes read (least) | bytes written (least) |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|");
    let compiler = compiler()?;
    for (tile, variant) in ROWS {
        let mut backend = CudaBackend::new("sm_80")?.without_reports();
        if let Some(variant) = variant {
            backend = backend.with_variant(variant.parse()?);
        }
        let spec = format!("tile={tile} element=bf16").parse()?;
        for found in figures(&mut backend, &compiler, &spec)? {
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
