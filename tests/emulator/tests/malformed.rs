//! Malformed PTX: mutations of real kernels are parsed, and run where they still parse. Nothing may panic.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests"
)]

mod common;

use common::{Shape, launch, upload};
use himuon_emulator::{Device, DeviceConfig, ExecutionOptions, Module};
use proptest::prelude::*;

const KERNELS: [&str; 3] = [
    include_str!("fixtures/newton_schulz_t16_nvrtc12_sm80.ptx"),
    include_str!("fixtures/newton_schulz_t16_nvrtc12_sm120.ptx"),
    include_str!("fixtures/triton_dot.ptx"),
];

/// One change of a text.
#[derive(Debug, Clone)]
enum Mutation {
    DropLine(prop::sample::Index),
    RepeatLine(prop::sample::Index, prop::sample::Index),
    SwapWords(prop::sample::Index, prop::sample::Index),
    ReplaceWord(prop::sample::Index, &'static str),
    Insert(prop::sample::Index, String),
    Truncate(prop::sample::Index),
}

/// Words that stand where something else was expected.
const WORDS: [&str; 24] = [
    "",
    "-1",
    "0xffffffffffffffff",
    "99999999999999999999",
    "0f7FC00000",
    "%r1",
    "%p1",
    "%rd1",
    "{",
    "}",
    "[",
    "]",
    ";",
    ",",
    "_",
    "@",
    "|",
    "<4294967295>",
    "bra",
    "ret",
    "bar.sync",
    ".shared",
    ".align",
    "/*",
];

fn mutation() -> impl Strategy<Value = Mutation> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        index().prop_map(Mutation::DropLine),
        (index(), index()).prop_map(|(from, to)| Mutation::RepeatLine(from, to)),
        (index(), index()).prop_map(|(a, b)| Mutation::SwapWords(a, b)),
        (index(), prop::sample::select(WORDS.to_vec()))
            .prop_map(|(at, word)| Mutation::ReplaceWord(at, word)),
        (index(), "\\PC{0,6}").prop_map(|(at, text)| Mutation::Insert(at, text)),
        index().prop_map(Mutation::Truncate),
    ]
}

/// Splits a text into lines of words that keep their separators, so that it can be put together again.
fn words(text: &str) -> Vec<String> {
    text.split_inclusive([' ', '\t', '\n', ',', ';'])
        .map(str::to_owned)
        .collect()
}

fn mutate(text: &str, mutations: &[Mutation]) -> String {
    let mut text = text.to_owned();
    for mutation in mutations {
        let mut lines: Vec<&str> = text.lines().collect();
        text = match mutation {
            Mutation::DropLine(at) if !lines.is_empty() => {
                lines.remove(at.index(lines.len()));
                lines.join("\n")
            }
            Mutation::RepeatLine(from, to) if !lines.is_empty() => {
                let line = lines[from.index(lines.len())];
                lines.insert(to.index(lines.len()), line);
                lines.join("\n")
            }
            Mutation::SwapWords(a, b) if !text.is_empty() => {
                let mut words = words(&text);
                let (a, b) = (a.index(words.len()), b.index(words.len()));
                words.swap(a, b);
                words.concat()
            }
            Mutation::ReplaceWord(at, word) if !text.is_empty() => {
                let mut words = words(&text);
                let at = at.index(words.len());
                words[at] = format!("{word} ");
                words.concat()
            }
            Mutation::Insert(at, inserted) => {
                let places: Vec<usize> = text
                    .char_indices()
                    .map(|(place, _)| place)
                    .chain([text.len()])
                    .collect();
                let mut longer = text.clone();
                longer.insert_str(places[at.index(places.len())], inserted);
                longer
            }
            Mutation::Truncate(at) if !text.is_empty() => {
                let places: Vec<usize> = text.char_indices().map(|(place, _)| place).collect();
                text[..places[at.index(places.len())]].to_owned()
            }
            _ => text,
        };
    }
    text
}

/// Parses and, if that works, runs every kernel on a small device with pointers for the first parameters.
fn survive(text: &str) {
    let Ok(module) = Module::parse(text) else {
        return;
    };
    let mut config = DeviceConfig::sm_80();
    config.memory_bytes = 1 << 20;
    let device = Device::new(config);
    let Ok(loaded_bytes) = device.memory.alloc(4096).map(|_| 4096usize) else {
        return;
    };
    let buffer = upload(&device, &vec![1; loaded_bytes]);
    for kernel in module.kernels() {
        if kernel.param_bytes() > 4096 || device.load(&module).is_err() {
            continue;
        }
        let words = (kernel.param_bytes() as usize).div_ceil(8);
        let mut params: Vec<u8> = (0..words)
            .flat_map(|word| if word < 4 { buffer } else { 16 }.to_le_bytes())
            .collect();
        params.truncate(kernel.param_bytes() as usize);
        let options = ExecutionOptions {
            max_instructions_per_block: 20_000,
            threads: 1,
            ..ExecutionOptions::default()
        };
        let threads = kernel
            .max_threads()
            .map_or(32, |extents| extents[0].min(128));
        let shape = Shape {
            grid: [1, 1, 1],
            block: [threads, 1, 1],
            dynamic_shared_bytes: 4096,
        };
        let _outcome = launch(
            &device,
            &module,
            kernel.name(),
            shape,
            &common::Params::from_bytes(params),
            options,
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 384, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn mutated_kernels_never_panic(
        kernel in prop::sample::select(KERNELS.to_vec()),
        mutations in prop::collection::vec(mutation(), 1..6),
    ) {
        survive(&mutate(kernel, &mutations));
    }

    #[test]
    fn arbitrary_text_never_panics(text in "\\PC{0,200}") {
        survive(&text);
        survive(&format!(".version 8.0\n.target sm_80\n.address_size 64\n.entry k() {{ {text} }}"));
    }
}

#[test]
fn the_kernels_parse_as_they_are() {
    for text in KERNELS {
        assert!(Module::parse(text).is_ok());
        survive(text);
    }
}
