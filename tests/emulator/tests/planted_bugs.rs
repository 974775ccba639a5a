//! A table of planted bugs: each is told by the right check, at the right instruction, in both orders of execution;
//! its correct twin is silent and right.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests"
)]

mod common;

use common::{Params, Shape, compile, device_for, download, launch, upload};
use himuon_emulator::{
    Counters, Device, DeviceConfig, ExecutionOptions, Fault, FaultKind, Module, Order, Resource,
    Space,
};

const SOURCE: &str = include_str!("fixtures/planted_bugs.cu");
const INPUTS: usize = 128;

/// What the twin computes from the input, for each output element.
type Twin = fn(&[f32], usize) -> f32;

/// One row of the table.
struct Planted {
    kernel: &'static str,
    /// Blocks of 64 threads, and the third parameter.
    blocks: u32,
    n: u32,
    /// Whether the output starts initialised (to ones).
    ready: bool,
    outputs: usize,
    twin: Twin,
    /// Whether the reported fault is the right one.
    told: fn(&FaultKind) -> bool,
    /// What the reported PTX line contains.
    instruction: &'static str,
}

const DEFAULT: Planted = Planted {
    kernel: "",
    blocks: 1,
    n: 64,
    ready: false,
    outputs: 64,
    twin: |input, index| input[index],
    told: |_| false,
    instruction: "",
};

fn table() -> Vec<Planted> {
    use FaultKind::{
        AsyncNotWaited, BlockConflict, Deadlock, DivergentBarrier, DivergentCollective, Misaligned,
        OutOfBounds, SharedRace, UninitialisedMemory,
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

fn module(planted: bool) -> Module {
    let ptx = compile(SOURCE, "sm_80", &[format!("PLANTED={}", u8::from(planted))]);
    Module::parse(&ptx).unwrap_or_else(|error| panic!("{error}"))
}

fn input() -> Vec<f32> {
    (0..INPUTS).map(|index| (index * 37 % 64) as f32).collect()
}

fn run(module: &Module, row: &Planted, order: Order) -> Result<(Vec<f32>, Counters), Fault> {
    let device = device_for("sm_80");
    let bytes: Vec<u8> = input()
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    let source = upload(&device, &bytes);
    let target = device.memory.alloc(4 * row.outputs as u64).unwrap();
    if row.ready {
        device
            .memory
            .fill(target, &1f32.to_le_bytes(), 4 * row.outputs as u64)
            .unwrap();
    }
    let params = Params::new().pointer(source).pointer(target).u32(row.n);
    let options = ExecutionOptions {
        order,
        ..ExecutionOptions::default()
    };
    let counters = launch(
        &device,
        module,
        row.kernel,
        Shape::linear(row.blocks, 64),
        &params,
        options,
    )?;
    let words = common::words32(&download(&device, target, 4 * row.outputs));
    Ok((words.into_iter().map(f32::from_bits).collect(), counters))
}

fn orders() -> impl Iterator<Item = Order> {
    [Order::Lockstep]
        .into_iter()
        .chain((0..3).map(Order::Random))
}

#[test]
fn every_planted_bug_is_told_by_the_right_check() {
    let module = module(true);
    for row in table() {
        for order in orders() {
            let fault = match run(&module, &row, order) {
                Err(fault) => fault,
                Ok(_) => panic!("{}: nothing was reported ({order:?})", row.kernel),
            };
            assert!(
                (row.told)(&fault.kind),
                "{}: {fault} ({order:?})",
                row.kernel
            );
            assert_eq!(fault.site.kernel, row.kernel);
            let (Some(line), Some(text)) = (fault.site.line, &fault.site.text) else {
                panic!("{fault}")
            };
            assert!(
                text.contains(row.instruction),
                "{}: line {line} is `{text}`",
                row.kernel
            );
            assert!(
                fault.site.block.is_some() && fault.site.warp.is_some(),
                "{fault}"
            );
            let message = fault.to_string();
            assert!(
                message.contains(row.kernel) && message.contains(&format!("PTX line {line}")),
                "{message}"
            );
        }
    }
}

#[test]
fn every_correct_twin_is_silent_and_right() {
    let module = module(false);
    let input = input();
    for row in table() {
        for order in orders() {
            let (found, _) =
                run(&module, &row, order).unwrap_or_else(|fault| panic!("{fault} ({order:?})"));
            let expected: Vec<f32> = (0..row.outputs)
                .map(|index| (row.twin)(&input, index))
                .collect();
            assert_eq!(found, expected, "{} ({order:?})", row.kernel);
        }
    }
}

#[test]
fn a_wrong_fragment_order_shows_in_the_result() {
    let row = Planted {
        kernel: "wrong_fragment_order",
        outputs: 128,
        ..DEFAULT
    };
    let input = input();
    let expected: Vec<f32> = (0..128)
        .map(|index| {
            (0..8)
                .map(|k| input[index / 8 * 8 + k] * input[k * 8 + index % 8])
                .sum()
        })
        .collect();
    assert_eq!(
        run(&module(false), &row, Order::Lockstep).unwrap().0,
        expected
    );
    assert_ne!(
        run(&module(true), &row, Order::Lockstep).unwrap().0,
        expected
    );
}

/// One launch of a harmless kernel on a device whose limits `shrink` has changed.
fn launch_on(shrink: impl FnOnce(&mut DeviceConfig), shape: Shape) -> Result<Counters, Fault> {
    let mut config = DeviceConfig::sm_80();
    shrink(&mut config);
    let device = Device::new(config);
    let source = upload(&device, &[0; 256]);
    let target = upload(&device, &[0; 256]);
    let params = Params::new().pointer(source).pointer(target).u32(64);
    launch(
        &device,
        &module(false),
        "divergent_barrier",
        shape,
        &params,
        ExecutionOptions::default(),
    )
}

#[test]
fn a_launch_beyond_the_limits_is_refused() {
    let exceeded = |result: Result<Counters, Fault>| match result.unwrap_err().kind {
        FaultKind::ExceededResource {
            resource,
            requested,
            limit,
        } => (resource, requested, limit),
        kind => panic!("{kind}"),
    };
    let shape = Shape::linear(1, 64);
    assert!(launch_on(|_| (), shape).is_ok());
    let dynamic = Shape {
        dynamic_shared_bytes: 163 * 1024,
        ..shape
    };
    assert_eq!(
        exceeded(launch_on(|_| (), dynamic)),
        (Resource::SharedBytes, 163 * 1024 + 256, 163 * 1024)
    );
    assert_eq!(
        exceeded(launch_on(|config| config.registers_per_block = 64, shape)).0,
        Resource::Registers
    );
    assert_eq!(
        exceeded(launch_on(|_| (), Shape::linear(1, 1025))),
        (Resource::Threads, 1025, 1024)
    );
    assert_eq!(
        exceeded(launch_on(
            |config| config.max_grid[0] = 7,
            Shape::linear(8, 64)
        )),
        (Resource::GridExtent, 8, 7)
    );
    assert!(matches!(
        launch_on(|_| (), Shape::linear(0, 64)).unwrap_err().kind,
        FaultKind::InvalidUse { .. }
    ));
}

#[test]
fn an_unwritten_register_is_told_and_a_copied_one_is_not() {
    let kernel = |body: &str| {
        format!(
            ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 out)\n{{\n.reg .b32 %r<4>; .reg .b64 %out;\n{body}\nret;\n}}"
        )
    };
    let device = device_for("sm_80");
    let out = device.memory.alloc(4).unwrap();
    let run = |body: &str| {
        let module = Module::parse(&kernel(body)).unwrap();
        launch(
            &device,
            &module,
            "k",
            Shape::linear(1, 1),
            &Params::new().pointer(out),
            ExecutionOptions::default(),
        )
    };
    let fault = run("add.u32 %r1, %r0, 1;").unwrap_err();
    assert_eq!(
        fault.kind,
        FaultKind::UninitialisedRegister {
            register: "%r0".to_owned()
        }
    );
    assert_eq!(fault.site.line, Some(7));
    // A phi of an undefined value is a copy; only its use is wrong.
    assert!(run("mov.b32 %r1, %r0;").is_ok());
    assert!(run("mov.b32 %r1, %r0; ld.param.u64 %out, [out]; st.global.b32 [%out], %r1;").is_err());
    let fault = run("ld.param.b32 %r1, [out+8];").unwrap_err();
    assert!(
        matches!(
            fault.kind,
            FaultKind::OutOfBounds {
                space: Space::Param,
                ..
            }
        ),
        "{fault}"
    );
}

#[test]
fn a_pointer_to_freed_memory_is_told() {
    let device = device_for("sm_80");
    let (source, target) = (upload(&device, &[0; 512]), upload(&device, &[0; 256]));
    device.memory.free(target).unwrap();
    let params = Params::new().pointer(source).pointer(target).u32(64);
    let fault = launch(
        &device,
        &module(false),
        "missing_edge_predicate",
        Shape::linear(1, 64),
        &params,
        ExecutionOptions::default(),
    )
    .unwrap_err();
    assert!(fault.to_string().contains("which was freed"), "{fault}");
}

#[test]
fn an_endless_kernel_is_given_up() {
    let text =
        ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry k()\n{\nHERE: bra HERE;\n}";
    let device = device_for("sm_80");
    let options = ExecutionOptions {
        max_instructions_per_block: 10_000,
        ..ExecutionOptions::default()
    };
    let fault = launch(
        &device,
        &Module::parse(text).unwrap(),
        "k",
        Shape::linear(1, 32),
        &Params::new(),
        options,
    )
    .unwrap_err();
    assert_eq!(fault.kind, FaultKind::InstructionLimit { limit: 10_000 });
}
