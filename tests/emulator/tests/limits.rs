//! Launches and kernels that go beyond what the device or the emulator allows.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests"
)]

mod common;

use common::{Params, Shape, compile, device_for, launch, upload};
use himuon_emulator::{
    Counters, Device, DeviceConfig, ExecutionOptions, Fault, FaultKind, Module, Resource, Space,
};

/// Kernels of 256 bytes of shared memory, launched with blocks of 64 threads.
fn module() -> Module {
    let source = include_str!("fixtures/planted_bugs.cu");
    let ptx = compile(source, "sm_80", &["PLANTED=0".to_owned()]);
    Module::parse(&ptx).unwrap_or_else(|error| panic!("{error}"))
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
        &module(),
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
        &module(),
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
    // A loop that waits for nobody, and one that waits for its own warps in each turn.
    for turn in ["", "bar.sync 0;"] {
        let text = format!(
            ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry k()\n{{\nHERE: {turn} bra HERE;\n}}"
        );
        let device = device_for("sm_80");
        let options = ExecutionOptions {
            max_instructions_per_block: 10_000,
            ..ExecutionOptions::default()
        };
        let fault = launch(
            &device,
            &Module::parse(&text).unwrap(),
            "k",
            Shape::linear(1, 32),
            &Params::new(),
            options,
        )
        .unwrap_err();
        assert_eq!(
            fault.kind,
            FaultKind::InstructionLimit { limit: 10_000 },
            "{turn}"
        );
    }
}
