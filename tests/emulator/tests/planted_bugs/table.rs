//! The planted bugs, with what has to be reported of each.

use himuon_emulator::{FaultKind, Space};

/// What the twin computes from the input, for each output element.
pub(crate) type Twin = fn(&[f32], usize) -> f32;

/// One row of the table.
pub(crate) struct Planted {
    pub(crate) kernel: &'static str,
    /// Blocks of 64 threads, and the third parameter.
    pub(crate) blocks: u32,
    pub(crate) n: u32,
    /// Whether the output starts initialised (to ones).
    pub(crate) ready: bool,
    pub(crate) outputs: usize,
    pub(crate) twin: Twin,
    /// Whether the reported fault is the right one.
    pub(crate) told: fn(&FaultKind) -> bool,
    /// What the reported PTX line contains.
    pub(crate) instruction: &'static str,
}

pub(crate) const DEFAULT: Planted = Planted {
    kernel: "",
    blocks: 1,
    n: 64,
    ready: false,
    outputs: 64,
    twin: |input, index| input[index],
    told: |_| false,
    instruction: "",
};

pub(crate) fn table() -> Vec<Planted> {
    use FaultKind::{
        AsyncNotWaited, BlockConflict, Deadlock, DivergentBarrier, DivergentCollective, GlobalRace,
        Misaligned, OutOfBounds, SharedRace, UninitialisedMemory,
    };
    let reversed: Twin = |input, index| input[63 - index];
    vec![
        Planted {
            kernel: "missing_barrier_after_write",
            twin: reversed,
            told: |kind| matches!(kind, SharedRace { .. }),
            instruction: "shared",
            ..DEFAULT
        },
        Planted {
            kernel: "missing_barrier_at_loop_end",
            twin: reversed,
            told: |kind| matches!(kind, SharedRace { .. }),
            instruction: "shared",
            ..DEFAULT
        },
        Planted {
            kernel: "missing_async_wait",
            twin: reversed,
            told: |kind| matches!(kind, AsyncNotWaited { .. }),
            instruction: "ld.shared",
            ..DEFAULT
        },
        Planted {
            kernel: "wait_for_the_wrong_group",
            twin: reversed,
            told: |kind| matches!(kind, AsyncNotWaited { .. }),
            instruction: "ld.shared",
            ..DEFAULT
        },
        Planted {
            kernel: "missing_edge_predicate",
            n: 50,
            outputs: 50,
            told: |kind| {
                matches!(
                    kind,
                    OutOfBounds {
                        space: Space::Global,
                        ..
                    }
                )
            },
            instruction: "st.global",
            ..DEFAULT
        },
        Planted {
            kernel: "misaligned_vector_load",
            outputs: 8,
            twin: |input, index| input[4 * index..4 * index + 4].iter().sum(),
            told: |kind| {
                matches!(
                    kind,
                    Misaligned {
                        space: Space::Global,
                        required: 16,
                        ..
                    }
                )
            },
            instruction: "ld.global.v4",
            ..DEFAULT
        },
        Planted {
            kernel: "uninitialised_shared_read",
            told: |kind| {
                matches!(
                    kind,
                    UninitialisedMemory {
                        space: Space::Shared,
                        ..
                    }
                )
            },
            instruction: "ld.shared",
            ..DEFAULT
        },
        Planted {
            kernel: "uninitialised_global_read",
            twin: |input, index| input[index] + 1.0,
            told: |kind| {
                matches!(
                    kind,
                    UninitialisedMemory {
                        space: Space::Global,
                        ..
                    }
                )
            },
            instruction: "ld.global",
            ..DEFAULT
        },
        Planted {
            kernel: "divergent_barrier",
            told: |kind| {
                matches!(
                    kind,
                    DivergentBarrier {
                        active: 0xffff,
                        live: u32::MAX
                    }
                )
            },
            instruction: "bar",
            ..DEFAULT
        },
        Planted {
            kernel: "divergent_shuffle",
            twin: |input, index| {
                if index % 32 < 16 {
                    input[index ^ 1]
                } else {
                    input[index]
                }
            },
            told: |kind| {
                matches!(
                    kind,
                    DivergentCollective {
                        active: 0xffff,
                        required: u32::MAX
                    }
                )
            },
            instruction: "shfl.sync",
            ..DEFAULT
        },
        Planted {
            kernel: "deadlock",
            told: |kind| matches!(kind, Deadlock { .. }),
            instruction: "barrier.sync",
            ..DEFAULT
        },
        Planted {
            kernel: "tile_covered_twice",
            blocks: 2,
            outputs: 128,
            twin: |input, index| input[index % 64],
            told: |kind| matches!(kind, BlockConflict { .. }),
            instruction: "st.global",
            ..DEFAULT
        },
        Planted {
            kernel: "mirrored_triangle",
            blocks: 2,
            ready: true,
            outputs: 128,
            twin: |input, index| input[index % 64] + 1.0,
            told: |kind| matches!(kind, BlockConflict { .. }),
            instruction: "global",
            ..DEFAULT
        },
        Planted {
            kernel: "missing_barrier_after_global_write",
            ready: true,
            twin: |input, index| input[if index < 64 { index } else { 127 - index }],
            told: |kind| matches!(kind, GlobalRace { .. }),
            instruction: "global",
            outputs: 128,
            ..DEFAULT
        },
        Planted {
            kernel: "missing_barrier_before_global_overwrite",
            ready: true,
            twin: |_, _| 1.0,
            told: |kind| matches!(kind, GlobalRace { .. }),
            instruction: "global",
            ..DEFAULT
        },
        Planted {
            kernel: "shared_out_of_bounds",
            told: |kind| {
                matches!(
                    kind,
                    OutOfBounds {
                        space: Space::Shared,
                        ..
                    }
                )
            },
            instruction: "st.shared",
            ..DEFAULT
        },
        Planted {
            kernel: "uninitialised_local_read",
            twin: |input, index| input[index] + 7.0,
            told: |kind| {
                matches!(
                    kind,
                    UninitialisedMemory {
                        space: Space::Local,
                        ..
                    }
                )
            },
            instruction: "ld.local",
            ..DEFAULT
        },
    ]
}
