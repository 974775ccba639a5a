//! A table of planted bugs: each is told by the right check, at the right instruction, in both orders of execution;
//! its correct twin is silent and right.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests"
)]

#[path = "../common/mod.rs"]
mod common;
mod table;

use common::{Params, Shape, compile, device_for, download, launch, upload};
use himuon_emulator::{Counters, ExecutionOptions, Fault, FaultKind, Module, Order};
use table::{DEFAULT, Planted, table};

const SOURCE: &str = include_str!("../fixtures/planted_bugs.cu");
const INPUTS: usize = 128;

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
            let site = &fault.site;
            assert!(site.block.is_some() && site.warp.is_some(), "{fault}");
            // Lanes that are missing have neither a lane nor an address in common.
            let collective = matches!(
                fault.kind,
                FaultKind::DivergentBarrier { .. }
                    | FaultKind::DivergentCollective { .. }
                    | FaultKind::Deadlock { .. }
            );
            assert!(
                collective || (site.lane.is_some() && site.address.is_some()),
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
