//! The kernels of a step and that of the map, each compiled alone.

use super::{compiler, spec};
use himuon_codegen::compile::{Compiler, Part};
use himuon_codegen::render;
use himuon_templates::{Architecture, Variant};
use std::collections::BTreeMap;

/// The names of a text's entries, and what each holds; labels are numbered by entry.
fn bodies(ptx: &str) -> BTreeMap<String, String> {
    let entries = ptx.split(".entry ").skip(1).map(|entry| {
        let (name, body) = entry.split_once('(').unwrap();
        let body = body[..body.find("\n}").unwrap()].to_owned();
        let unnumbered = |text: String, entry: usize| text.replace(&format!("BB{entry}_"), "BB_");
        (name.to_owned(), (0..4).fold(body, unnumbered))
    });
    entries.collect()
}

#[test]
fn a_part_of_a_text_is_what_the_whole_has_of_it() {
    let compiler = Compiler::new(compiler().nvrtc());
    for (text, step) in [
        ("tile=16 element=bf16", &["himuon_step"][..]),
        (
            "tile=16 element=bf16 power=1/2",
            &["himuon_norm", "himuon_step", "himuon_update"],
        ),
        ("tile=16 operand=f32", &["himuon_step"]),
        (
            "tile=16 operand=f32 power=1/2",
            &["himuon_norm", "himuon_step", "himuon_update"],
        ),
    ] {
        let spec = spec(text);
        let variant = Variant::default_for(&spec, Architecture::Sm80);
        let kernel = render(&spec, &variant, Architecture::Sm80).unwrap().text;
        let of = |part| bodies(&compiler.ptx(&kernel, "sm_80", part).unwrap());
        let mut whole = of(Part::All);
        let map = whole.remove_entry("himuon_map").unwrap();
        assert!(
            whole.keys().eq(step.iter().copied()),
            "{text}: {:?}",
            whole.keys()
        );
        assert!(of(Part::of(&variant, "step")) == whole, "{text}: step");
        assert!(
            of(Part::of(&variant, "map")) == BTreeMap::from([map]),
            "{text}: map"
        );
    }
    let streamed = spec("tile=full operand=bf16");
    let variant = Variant::default_for(&streamed, Architecture::Sm80);
    for purpose in ["step", "map"] {
        assert_eq!(Part::of(&variant, purpose), Part::All);
    }
}
