//! What the integration tests share: compiling CUDA, launching, moving arrays, reproducible numbers.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary includes this file and uses a part"
)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a bench includes it too"
)]

use std::sync::OnceLock;

use himuon_emulator::{Counters, Device, DeviceConfig, ExecutionOptions, Fault, Launch, Module};
use himuon_toolkit::Toolkit;

/// PTX of CUDA source. The compiler is found or installed once.
pub fn compile(source: &str, arch: &str, defines: &[String]) -> String {
    static TOOLKIT: OnceLock<Toolkit> = OnceLock::new();
    let toolkit = TOOLKIT.get_or_init(|| {
        Toolkit::locate_or_install()
            .unwrap_or_else(|error| panic!("no CUDA compiler for tests: {error}"))
    });
    let options: Vec<String> = defines.iter().map(|define| format!("-D{define}")).collect();
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    toolkit
        .compile_ptx(source, arch, &options)
        .unwrap_or_else(|error| panic!("{error}"))
}

/// The device of an architecture name such as `sm_90a`.
pub fn device_for(arch: &str) -> Device {
    let digits = arch
        .trim_start_matches("sm_")
        .trim_end_matches(char::is_alphabetic);
    let number: u32 = digits.parse().expect("an architecture such as sm_80");
    let config = DeviceConfig::for_capability(number / 10, number % 10).expect("a preset");
    Device::new(config)
}

/// Kernel parameters packed in order, each at a multiple of its size.
#[derive(Default)]
pub struct Params(Vec<u8>);

impl Params {
    pub fn new() -> Self {
        Self::default()
    }

    fn push(mut self, bytes: &[u8]) -> Self {
        self.0.resize(self.0.len().next_multiple_of(bytes.len()), 0);
        self.0.extend_from_slice(bytes);
        self
    }

    /// A parameter block as it is.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    pub fn pointer(self, address: u64) -> Self {
        self.push(&address.to_le_bytes())
    }

    pub fn u32(self, value: u32) -> Self {
        self.push(&value.to_le_bytes())
    }

    pub fn f32(self, value: f32) -> Self {
        self.push(&value.to_le_bytes())
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Extents of a launch.
#[derive(Clone, Copy)]
pub struct Shape {
    pub grid: [u32; 3],
    pub block: [u32; 3],
    pub dynamic_shared_bytes: u32,
}

impl Shape {
    pub fn linear(grid: u32, block: u32) -> Self {
        Self {
            grid: [grid, 1, 1],
            block: [block, 1, 1],
            dynamic_shared_bytes: 0,
        }
    }
}

/// Launches a kernel of a module that is loaded for this launch only.
pub fn launch(
    device: &Device,
    module: &Module,
    kernel: &str,
    shape: Shape,
    params: &Params,
    options: ExecutionOptions,
) -> Result<Counters, Fault> {
    let loaded = device.load(module).expect("room for module variables");
    let launch = Launch {
        kernel,
        grid: shape.grid,
        block: shape.block,
        dynamic_shared_bytes: shape.dynamic_shared_bytes,
        params: params.bytes(),
        options,
    };
    let result = device.launch(&loaded, &launch);
    device
        .unload(&loaded)
        .expect("module variables are allocated");
    result
}

/// Device memory with these bytes.
pub fn upload(device: &Device, bytes: &[u8]) -> u64 {
    let address = device
        .memory
        .alloc(bytes.len() as u64)
        .expect("device memory");
    device
        .memory
        .write(address, bytes)
        .expect("a fresh allocation");
    address
}

pub fn download(device: &Device, address: u64, bytes: usize) -> Vec<u8> {
    let mut host = vec![0; bytes];
    device
        .memory
        .read(address, &mut host)
        .expect("an allocation of that size");
    host
}

pub fn le_bytes16(values: &[u16]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

pub fn le_bytes32(values: &[u32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

pub fn words16(bytes: &[u8]) -> Vec<u16> {
    bytes
        .chunks_exact(2)
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
        .collect()
}

pub fn words32(bytes: &[u8]) -> Vec<u32> {
    bytes
        .chunks_exact(4)
        .map(|word| u32::from_le_bytes(word.try_into().unwrap()))
        .collect()
}

/// Reproducible numbers (SplitMix64).
pub struct Numbers(pub u64);

impl Numbers {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Uniform in (0, 1).
    pub fn unit(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// Standard normal (Box and Muller).
    pub fn normal(&mut self) -> f64 {
        (-2.0 * self.unit().ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }
}
