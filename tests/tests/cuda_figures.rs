//! What the resident kernels may cost: the bounds behind the tables of `docs/cuda-kernels.md`.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test without its device fails")]

use himuon_tests::compiler::is_as_measured;
use himuon_tests::cuda::CudaBackend;
use himuon_tests::cuda::figures::{compiler, figures};

/// What a tile may cost.
struct Bounds {
    edge: u32,
    /// Of the map with bf16 operands.
    wavefronts: u64,
    /// Instructions of the public Triton kernel of the paper's authors: a warp's, and its warps.
    published: (u32, u32),
}

/// Sectors that a warp reads of the launch tables: the search, the matrix and group twice, the step.
const TABLE_SECTORS: u64 = 24;

#[test]
fn wavefronts_instructions_and_bytes_of_a_tile_of_64() {
    stays_within(&Bounds {
        edge: 64,
        wavefronts: 3840,
        published: (2947, 4),
    });
}

#[test]
fn wavefronts_instructions_and_bytes_of_a_tile_of_128() {
    stays_within(&Bounds {
        edge: 128,
        wavefronts: 30_720,
        published: (8012, 8),
    });
}

fn stays_within(bounds: &Bounds) {
    let &Bounds {
        edge,
        wavefronts,
        published: (of_a_warp, warps),
    } = bounds;
    let mut backend = CudaBackend::new("sm_80").unwrap().without_reports();
    let compiler = compiler().unwrap();
    if !is_as_measured(&compiler, "instructions, wavefronts and bytes of a tile") {
        return;
    }
    let spec = format!("tile={edge} element=bf16").parse().unwrap();
    for found in figures(&mut backend, &compiler, &spec).unwrap() {
        let name = format!("T={edge} {}", found.entry);
        let counters = &found.counters;
        assert!(
            counters.shared_wavefronts <= wavefronts,
            "{name}: {counters:?}"
        );
        assert_eq!(
            counters.shared_wavefronts, counters.shared_ideal_wavefronts,
            "{name}: bank conflicts"
        );
        let spilled = found.resources.spill_store_bytes + found.resources.spill_load_bytes;
        assert_eq!(spilled, 0, "{name}: {:?}", found.resources);
        let (read, written) = found.least_bytes;
        assert_eq!(found.bytes_written(), written, "{name}: each number once");
        let tables = 32 * TABLE_SECTORS * u64::from(found.warps);
        assert!(
            (read..=read + tables).contains(&found.bytes_read()),
            "{name}: {} bytes read, {read} are needed",
            found.bytes_read()
        );
        if found.entry == "himuon_map" {
            assert!(
                (1..of_a_warp * warps).contains(&found.issued),
                "{name}: {} instructions",
                found.issued
            );
        }
    }
}
