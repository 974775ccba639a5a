//! Kernels around single instructions.

use himuon_emulator::{Device, DeviceConfig, ExecutionOptions, Fault, Module};

use crate::common::{Params, Shape, download, launch, upload};

/// One case: operand widths (`"64<32,32"`: destination `%d`, then `%a %b %c %e`; `p` is a predicate), the code, inputs,
/// expected bits.
pub type Case<'a> = (&'a str, &'a str, &'a [u64], u64);

/// Bits of floats, for tables.
pub const fn f(value: f32) -> u64 {
    value.to_bits() as u64
}

pub const fn d(value: f64) -> u64 {
    value.to_bits()
}

/// Two 16-bit values in a word, the upper one first as people write them.
pub const fn pair(high: u64, low: u64) -> u64 {
    (high << 16) | low
}

pub const NAN: u64 = 0x7fff_ffff;
pub const INF: u64 = f(f32::INFINITY);
pub const MINUS_INF: u64 = f(f32::NEG_INFINITY);
/// The smallest positive f32.
pub const TINY: u64 = 1;

const NAMES: [&str; 5] = ["%a", "%b", "%c", "%e", "%g"];

/// Checks every case of a table and reports all that fail.
pub fn check(table: &[Case<'_>]) {
    let failures: Vec<String> = table
        .iter()
        .filter_map(|case| failure(case).err())
        .collect();
    assert!(
        failures.is_empty(),
        "{} of {} cases fail:\n{}",
        failures.len(),
        table.len(),
        failures.join("\n")
    );
}

fn failure((widths, code, inputs, expected): &Case<'_>) -> Result<(), String> {
    let found = evaluate(widths, code, inputs).map_err(|error| format!("{code}: {error}"))?;
    if found == *expected {
        return Ok(());
    }
    Err(format!(
        "{code} of {inputs:#x?}: {found:#x}, expected {expected:#x}"
    ))
}

fn evaluate(widths: &str, code: &str, inputs: &[u64]) -> Result<u64, String> {
    let (result, sources) = widths.split_once('<').expect("widths such as 32<32,32");
    let sources: Vec<&str> = sources
        .split(',')
        .filter(|width| !width.is_empty())
        .collect();
    assert_eq!(sources.len(), inputs.len(), "{code}: inputs and widths");
    let mut declarations = String::new();
    let mut loads = String::new();
    for (index, (name, width)) in NAMES.iter().zip(&sources).enumerate() {
        if *width == "p" {
            declarations += &format!(".reg .pred {name}; .reg .b32 {name}_word; ");
            loads += &format!(
                "ld.global.b32 {name}_word, [%in+{}]; setp.ne.b32 {name}, {name}_word, 0; ",
                8 * index
            );
        } else {
            declarations += &format!(".reg .b{width} {name}; ");
            loads += &format!("ld.global.b{width} {name}, [%in+{}]; ", 8 * index);
        }
    }
    let store = if result == "p" {
        declarations += ".reg .pred %d; .reg .b32 %d_word; ";
        "selp.b32 %d_word, 1, 0, %d; st.global.b32 [%out], %d_word;".to_owned()
    } else {
        declarations += &format!(".reg .b{result} %d; ");
        format!("st.global.b{result} [%out], %d;")
    };
    let ptx = kernel(&format!("{declarations}\n{loads}\n{code}\n{store}"));
    let device = Device::new(DeviceConfig::sm_90());
    let input: Vec<u8> = inputs
        .iter()
        .chain(&[0])
        .flat_map(|value| value.to_le_bytes())
        .collect();
    let output = run(&device, &ptx, 1, &input, 8).map_err(|error| error.to_string())?;
    Ok(u64::from_le_bytes(output.try_into().unwrap()))
}

/// A kernel with the pointers `%in` and `%out` around a body.
pub fn kernel(body: &str) -> String {
    format!(
        ".version 8.6\n.target sm_90\n.address_size 64\n.visible .entry test(.param .u64 input, .param .u64 output)\n{{\n\
         .reg .b64 %in, %out;\nld.param.u64 %in, [input];\nld.param.u64 %out, [output];\n{body}\nret;\n}}\n"
    )
}

/// Runs a kernel made by [`kernel`] in one block; the output starts as zeros.
pub fn run(
    device: &Device,
    ptx: &str,
    threads: u32,
    input: &[u8],
    output_bytes: usize,
) -> Result<Vec<u8>, Fault> {
    let module = Module::parse(ptx).unwrap_or_else(|error| panic!("{error}\n{ptx}"));
    let (source, target) = (
        upload(device, input),
        upload(device, &vec![0; output_bytes]),
    );
    let params = Params::new().pointer(source).pointer(target);
    launch(
        device,
        &module,
        "test",
        Shape::linear(1, threads),
        &params,
        ExecutionOptions::default(),
    )?;
    Ok(download(device, target, output_bytes))
}

/// Runs code on one warp: lane l has `%lane` = l and `%a` = its input word, and gives `%d`.
pub fn warp(declarations: &str, code: &str, input: &[u32; 32]) -> Result<[u32; 32], Fault> {
    let body = format!(
        ".reg .b32 %lane, %a, %d; .reg .b64 %offset, %from, %to; {declarations}\n\
         mov.u32 %lane, %laneid; mul.wide.u32 %offset, %lane, 4;\n\
         add.s64 %from, %in, %offset; add.s64 %to, %out, %offset;\n\
         ld.global.b32 %a, [%from];\n{code}\nst.global.b32 [%to], %d;"
    );
    let device = Device::new(DeviceConfig::sm_90());
    let output = run(
        &device,
        &kernel(&body),
        32,
        &crate::common::le_bytes32(input),
        128,
    )?;
    Ok(crate::common::words32(&output).try_into().unwrap())
}

/// The numbers 0 to 31.
pub fn lanes() -> [u32; 32] {
    std::array::from_fn(|lane| lane as u32)
}
