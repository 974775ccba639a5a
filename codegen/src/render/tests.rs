use super::*;
use himuon_templates::variant::{Plain, Resident, Streamed};
use std::collections::BTreeSet;

/// One specification per recurrence, criterion, mode and kind of tile.
const SPECS: [&str; 12] = [
    "tile=128",
    "tile=64x256 coefficients=polar-express element=bf16",
    "tile=full steps=10 coefficients=quintic element=f16 momentum=bf16",
    "tile=32 coefficients=turbo operand=tf32",
    "tile=16 coefficients=cans",
    "tile=16 coefficients=[(1.5,-0.5,0.0)]",
    "tile=64 power=1/2 element=bf16",
    "tile=64 power=1/3 recurrence=coupled",
    "tile=64 power=1/3 recurrence=authors",
    "tile=64 power=1",
    "tile=64 mode=reference element=bf16 criterion=effective_rank(0.1)",
    "tile=64 criterion=nuclear_rank(0.5) otherwise=rms-matched",
];

fn parsed(text: &str) -> KernelSpec {
    text.parse().unwrap()
}

fn rendered(spec: &KernelSpec, architecture: Architecture) -> Rendered {
    render(
        spec,
        &Variant::default_for(spec, architecture),
        architecture,
    )
    .unwrap()
}

#[test]
fn every_specification_renders_the_same_bytes_each_time() {
    let mut names = BTreeSet::new();
    for text in SPECS {
        for architecture in Architecture::ALL {
            let spec = parsed(text);
            let first = rendered(&spec, architecture);
            assert_eq!(first, rendered(&spec, architecture));
            assert!(names.insert(first.id.clone()), "{} twice", first.id);
            for left in ["<%", "%>", "@{", "}@", "<#", "#include", "#pragma once"] {
                assert!(!first.text.contains(left), "{text}: {left}");
            }
            assert!(first.text.lines().all(|line| line == line.trim_end()));
        }
    }
}

#[test]
fn the_head_states_the_inputs_and_they_read_back() {
    let spec = parsed("tile=64x256 power=2/3 element=bf16");
    let text = rendered(&spec, Architecture::Sm90a).text;
    let line = text.lines().nth(1).unwrap();
    let quoted: Vec<_> = line.split('\'').collect();
    assert!(quoted[0].ends_with("himuon emit --spec "));
    assert_eq!(parsed(quoted[1]), spec);
    let variant: Variant = quoted[3].parse().unwrap();
    assert_eq!(variant, Variant::default_for(&spec, Architecture::Sm90a));
    assert_eq!(quoted[4], " --architecture sm_90a");
}

#[test]
fn template_variables_are_the_fields_of_the_context() {
    let spec = parsed("tile=16");
    let plain = context::PlainContext::new(&spec, &Plain { warps: 1 }, String::new()).unwrap();
    same_variables("plain.cu.tera", &plain);
    let settings = Resident::default_for(&spec, Architecture::Sm80).unwrap();
    let resident = resident::ResidentContext::new(&spec, &settings, String::new()).unwrap();
    same_variables("resident.cu.tera", &resident);
    let settings = Streamed::default_for(&spec, Architecture::Sm80).unwrap();
    let streamed = streamed::StreamedContext::new(&spec, &settings, String::new()).unwrap();
    same_variables("streamed.cu.tera", &streamed);
    same_variables("companion.cu.tera", &Companion::default());
    same_variables("coupling.cu.tera", &Coupling::new(&spec.storage).unwrap());
}

fn same_variables(template: &str, context: &impl serde::Serialize) {
    let fields: BTreeSet<_> = match serde_json::to_value(context).unwrap() {
        serde_json::Value::Object(map) => map.into_iter().map(|(key, _)| key).collect(),
        other => panic!("{other}"),
    };
    let engine = engine().unwrap();
    let variables: BTreeSet<_> = engine
        .get_template_variables(template)
        .unwrap()
        .into_iter()
        .map(str::to_owned)
        .collect();
    assert_eq!(variables, fields, "{template}");
}

#[test]
fn the_family_follows_from_the_specification() {
    for (text, architecture, family) in [
        ("tile=128 element=bf16", Architecture::Sm80, "resident"),
        ("tile=64 element=bf16", Architecture::Sm75, "plain"),
        ("tile=64 element=f16", Architecture::Sm75, "resident"),
        ("tile=96x40 operand=tf32", Architecture::Sm90a, "resident"),
        (
            "tile=64 power=1/2 element=bf16",
            Architecture::Sm80,
            "resident",
        ),
        ("tile=full element=bf16", Architecture::Sm80, "streamed"),
        ("tile=512 element=bf16", Architecture::Sm80, "streamed"),
        ("tile=1x4096", Architecture::Sm80, "streamed"),
        ("tile=full element=f16", Architecture::Sm75, "streamed"),
        ("tile=full element=bf16", Architecture::Sm75, "plain"),
        (
            "tile=full power=2/3 recurrence=coupled",
            Architecture::Sm90a,
            "streamed",
        ),
    ] {
        let variant = Variant::default_for(&parsed(text), architecture);
        let found = variant.to_string();
        assert_eq!(found.split(':').next(), Some(family), "{text}");
        assert_eq!(found.parse(), Ok(variant));
    }
}

#[test]
fn resident_settings_that_do_not_fit_say_why() {
    for (settings, spec, expected) in [
        (
            "rows=64,chunk=4,tiles=1",
            "tile=128 element=bf16",
            "registers",
        ),
        (
            "rows=16,chunk=2,tiles=1,double-buffer",
            "tile=128 operand=f16",
            "shared memory",
        ),
        (
            "rows=32,chunk=2,tiles=1,double-buffer",
            "tile=64 power=1/2 element=bf16",
            "one buffer",
        ),
        ("rows=32,chunk=0,tiles=1", "tile=64", "at least 1"),
    ] {
        // All tiles fit the newer devices of 8.0.
        let architecture = match expected {
            "shared memory" => Architecture::Sm75,
            _ => Architecture::Sm80,
        };
        let variant: Variant = format!("resident:{settings}").parse().unwrap();
        let error = render(&parsed(spec), &variant, architecture).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn streamed_settings_that_do_not_fit_say_why() {
    for (settings, spec, architecture, expected) in [
        (
            "block=96,warps=4,stages=3",
            "tile=full",
            Architecture::Sm80,
            "block=64 or 128",
        ),
        (
            "block=128,warps=8,stages=5",
            "tile=full operand=f16",
            Architecture::Sm75,
            "shared memory",
        ),
        (
            "block=128,warps=4,stages=3",
            "tile=full",
            Architecture::Sm80,
            "registers",
        ),
        (
            "block=64,warps=4,stages=2",
            "tile=full element=bf16",
            Architecture::Sm75,
            "operand=f16",
        ),
    ] {
        let variant: Variant = format!("streamed:{settings}").parse().unwrap();
        let error = render(&parsed(spec), &variant, architecture).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn folded_coefficients_multiply_out() {
    // s^2 b / a and s^4 c / a with s = 3.4445 at the second step of `muon`.
    let text = rendered(&parsed("tile=64 element=bf16"), Architecture::Sm80).text;
    let square = 3.4445_f32 as f64 * 3.4445_f32 as f64;
    let (b, c) = (-4.775_f32 as f64, 2.0315_f32 as f64);
    let row = [
        1.0,
        b * square / square.sqrt(),
        c * square * square / square.sqrt(),
    ];
    let row = row.map(|value| literal::float(value as f32)).join(", ");
    assert!(text.contains(&format!("{{{row}}},")), "{row}");
    // f16 would leave its range.
    let text = rendered(&parsed("tile=64 element=f16"), Architecture::Sm80).text;
    assert!(text.contains("FOLDED = false"));
}

#[test]
fn coefficients_are_in_the_text_with_their_exact_bits() {
    let spec = parsed("tile=64 coefficients=polar-express steps=6");
    let plain = Variant::Plain(Plain { warps: 8 });
    let text = render(&spec, &plain, Architecture::Sm80).unwrap().text;
    let himuon_templates::StepTable::Odd(steps) = spec.step_table().unwrap() else {
        panic!()
    };
    for step in &steps {
        let [a, b, c] = step.map(literal::float);
        assert!(text.contains(&format!("odd_step(work, {a}, {b}, {c});")));
    }
    assert_eq!(text.matches("  odd_step(work, ").count(), 6);
}

#[test]
fn a_host_criterion_has_no_source_and_others_have_one_per_class() {
    let specs = [
        parsed("tile=64"),
        parsed("tile=64 criterion=min_gap(0.1)"),
        parsed("tile=64 criterion=fro_norm(1) scope=matrix"),
        parsed("tile=128"),
    ];
    let sources = sources(&specs).unwrap();
    let found: Vec<_> = sources.iter().map(|s| (s.spec, s.architecture)).collect();
    assert_eq!(
        found,
        [(0, 75), (0, 80), (0, 90), (3, 75), (3, 80), (3, 90)]
    );
}

#[test]
fn a_variant_that_does_not_fit_is_refused() {
    let spec = parsed("tile=64");
    for warps in [0, 33, u32::MAX] {
        let error =
            render(&spec, &Variant::Plain(Plain { warps }), Architecture::Sm80).unwrap_err();
        assert!(error.to_string().contains("32 to 1024"), "{error}");
    }
}
