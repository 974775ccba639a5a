use super::*;
use himuon_templates::variant::Plain;
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
    let engine = engine().unwrap();
    let spec = parsed("tile=16");
    let context = context::PlainContext::new(&spec, &Plain { warps: 1 }, String::new()).unwrap();
    let fields: BTreeSet<_> = match serde_json::to_value(&context).unwrap() {
        serde_json::Value::Object(map) => map.into_iter().map(|(key, _)| key).collect(),
        other => panic!("{other}"),
    };
    let variables: BTreeSet<_> = engine
        .get_template_variables("plain.cu.tera")
        .unwrap()
        .into_iter()
        .map(str::to_owned)
        .collect();
    assert_eq!(variables, fields);
}

#[test]
fn coefficients_are_in_the_text_with_their_exact_bits() {
    let spec = parsed("tile=64 coefficients=polar-express steps=6");
    let text = rendered(&spec, Architecture::Sm80).text;
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
