//! What the emulator does not know is an error that names the instruction and its line.

use crate::harness::kernel;
use himuon_emulator::Module;

fn error(body: &str) -> String {
    Module::parse(&kernel(body))
        .expect_err("this must not parse")
        .to_string()
}

/// Lines before the body of a kernel.
const BODY_LINE: usize = 9;

#[test]
fn unknown_instructions_modifiers_and_operands_are_named() {
    let cases = [
        (
            "frobnicate.b32 %in, %out;",
            "`frobnicate.b32`: unknown instruction",
        ),
        (
            "wgmma.fence.sync.aligned;",
            "`wgmma.fence.sync.aligned`: unknown instruction",
        ),
        (
            "add.weird.s64 %in, %in, %out;",
            "the modifier `.weird` is not supported",
        ),
        ("add.s64 %in, %in, %none;", "`%none` is not declared"),
        (
            "add.s32 %in, %in, %out;",
            "`%in` is 64 bits wide, the instruction needs 32 bits",
        ),
        ("add.s64 %in, %in;", "2 operands, expected 3"),
        ("bra NOWHERE;", "label `NOWHERE` is nowhere in the kernel"),
        ("call foo;", "calls of device functions are not supported"),
        ("st.param.b64 [input], %in;", "parameters cannot be written"),
        (
            "cp.async.cg.shared.global [%in], [%in], 8;",
            "cannot copy 8 bytes",
        ),
        (
            "ld.global.v4.b64 {%in, %out}, [%in];",
            "a vector of 2 registers, expected 4",
        ),
        ("mapa.u64 %in, %in, %in;", "unknown instruction"),
        (
            "add.s64 %in, %in %out;",
            "expected `,` or `;`, found `%out`",
        ),
    ];
    for (code, message) in cases {
        let found = error(code);
        assert!(found.contains(message), "{code}: {found}");
        assert!(
            found.starts_with(&format!("PTX line {BODY_LINE}:")),
            "{code}: {found}"
        );
    }
}

#[test]
fn what_is_not_ptx_is_refused() {
    for text in [
        "",
        "hello",
        ".version 8.0\n.entry f() {",
        ".version 8.0 .address_size 32",
        ".version 8.0 .entry f() { ret; } .entry f() { ret; }",
    ] {
        assert!(Module::parse(text).is_err(), "{text}");
    }
}
