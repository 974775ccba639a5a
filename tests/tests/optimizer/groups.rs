//! Which parameter gets which method, and what `explain` says of it.

use himuon::optimizer::{AdamWOptions, MuonOptions};
use himuon::{HiMuon, KernelSpec, Tile};

use crate::model::Model;

#[test]
fn explain_has_a_line_with_a_reason_for_each_parameter() {
    let model = Model::mixed();
    let optimizer = model.grouped().build().unwrap();
    let explained = optimizer.explain().unwrap();
    let adamw: Vec<_> = explained
        .parameters
        .iter()
        .filter(|line| line.spec == "adamw")
        .map(|line| line.name.as_str())
        .collect();
    assert_eq!(
        adamw,
        ["embed.weight", "blocks.0.norm.weight", "lm_head.weight"]
    );
    let line = |name: &str| {
        explained
            .parameters
            .iter()
            .find(|line| line.name == name)
            .unwrap()
    };
    assert_eq!(line("blocks.0.mlp.experts").tiles, 3 * 2 * 2);
    assert_eq!(line("blocks.0.mlp.experts").group, "*.experts");
    assert_eq!(line("blocks.0.conv.weight").tiles, 2);
    assert!(line("lm_head.weight").reason.contains("head"));
    assert!(line("embed.weight").reason.contains("embedding"));
    assert!(line("blocks.0.norm.weight").reason.contains("dimension"));
    // Momentum of 4 bytes for the tiles, two moments of 4 bytes for AdamW.
    let numbers = |adamw: bool| -> u64 {
        let lines = explained
            .parameters
            .iter()
            .filter(|line| (line.spec == "adamw") == adamw);
        lines
            .map(|line| line.shape.iter().product::<usize>() as u64)
            .sum()
    };
    assert_eq!(
        explained.totals.state_bytes,
        4 * numbers(false) + 8 * numbers(true)
    );
    let text = explained.to_string();
    assert!(text.contains("0.05 times the optimizer's"), "{text}");
    for (name, _) in &model.parameters {
        assert!(text.lines().any(|line| line.starts_with(name)), "{text}");
    }
    assert!(text.contains("state") && text.contains("workspace") && text.contains("tables"));
}

#[test]
fn wrappers_change_no_route() {
    let names = [
        "tok_embeddings.weight",
        "layers.0.attn.output.weight",
        "time_embed.0.weight",
        "output.weight",
    ];
    let route = |prefix: &str| {
        let builder = names.iter().fold(HiMuon::builder(), |builder, name| {
            builder.parameter(format!("{prefix}{name}"), &[32, 16])
        });
        let tiles = MuonOptions::specs([KernelSpec::new(Tile::square(8))]);
        let optimizer = builder.group_with("*", tiles).threads(1).build().unwrap();
        let lines = optimizer.explain().unwrap().parameters.into_iter();
        lines.map(|line| line.spec == "adamw").collect::<Vec<_>>()
    };
    for prefix in [
        "",
        "module.",
        "_orig_mod.",
        "model.",
        "module._orig_mod.model.",
    ] {
        assert_eq!(route(prefix), [true, false, false, true], "{prefix}");
    }
}

#[test]
fn the_reason_is_the_parameter_s_also_in_a_group_of_adamw() {
    let model = Model::new(&[
        ("norm.weight", &[16]),
        ("a.weight", &[16, 16]),
        ("embed.weight", &[32, 16]),
    ]);
    let builder = model.builder().group_with("*", AdamWOptions::default());
    let explained = builder.build().unwrap().explain().unwrap();
    let reasons: Vec<_> = explained.parameters.iter().map(|p| &p.reason).collect();
    assert!(reasons[0].starts_with("one dimension"), "{reasons:?}");
    assert_eq!(reasons[1], "* asks for AdamW");
    assert!(reasons[2].starts_with("an embedding"), "{reasons:?}");
}

#[test]
fn a_group_of_names_takes_those_alone_and_keeps_to_the_rules_of_names() {
    let shape: &[usize] = &[32, 16];
    let model = Model::new(&[("embed.weight", shape), ("a[0].w", shape), ("b.w", shape)]);
    let tile = || MuonOptions::specs([KernelSpec::new(Tile::square(4))]);
    let mut optimizer = model
        .builder()
        .group_of("listed", ["embed.weight", "a[0].w"], tile())
        .group_of("table", ["embed.weight"], AdamWOptions::default())
        .build()
        .unwrap();
    let explained = optimizer.explain().unwrap();
    let groups: Vec<_> = explained.parameters.iter().map(|p| &p.group).collect();
    assert_eq!(groups, ["table", "listed", "(rest)"]);
    assert_eq!(explained.parameters[1].tiles, 8 * 4);
    optimizer.set_momentum("listed", 0.9).unwrap();

    let refused = |names: &[&str]| {
        let names = names.iter().copied();
        let builder = model.builder().group_of("listed", names, tile());
        builder.build().unwrap_err().to_string()
    };
    let text = refused(&["a[0].w", "c.w"]);
    assert!(text.starts_with("group listed names c.w"), "{text}");
    assert!(refused(&[]).starts_with("group listed names no parameter"));
    for name in ["*", "(rest)"] {
        let doubled = model.builder().group_with("*", tile());
        let doubled = doubled.group_of(name, ["b.w"], tile()).build();
        let text = doubled.unwrap_err().to_string();
        assert!(text.starts_with("there is another group"), "{text}");
    }
}

#[test]
fn a_pattern_that_is_a_name_means_that_parameter_alone() {
    let shape: &[usize] = &[16, 16];
    let names = ["layers[0].weight", "layers0.weight", "embed[0].weight"];
    let model = Model::new(&names.map(|name| (name, shape)));
    let tile = || MuonOptions::specs([KernelSpec::new(Tile::square(4))]);
    let groups = |pattern: &str| {
        let optimizer = model.builder().group_with(pattern, tile()).build()?;
        let lines = optimizer.explain()?.parameters.into_iter();
        Ok::<_, himuon::Error>(lines.map(|line| line.group).collect::<Vec<_>>())
    };
    let name = "layers[0].weight";
    assert_eq!(groups(name).unwrap(), [name, "(rest)", "(rest)"]);
    // The rules of names are for patterns.
    let name = "embed[0].weight";
    assert_eq!(groups(name).unwrap(), ["(rest)", "(rest)", name]);
    let escaped = r"layers\[*";
    assert_eq!(groups(escaped).unwrap(), [escaped, "(rest)", "(rest)"]);
    let text = groups("embed[*].weight").unwrap_err().to_string();
    assert!(
        text.contains(r"write \ before one that is part of the name"),
        "{text}"
    );
    let text = groups("blocks.*").unwrap_err().to_string();
    assert!(text.ends_with("remove the group"), "{text}");
}

#[test]
fn the_first_matching_group_takes_a_parameter_and_a_plain_name_overrides_the_rules() {
    let model = Model::new(&[("embed.weight", &[32, 16]), ("lm_head.weight", &[32, 16])]);
    let tile = |edge| MuonOptions::specs([KernelSpec::new(Tile::square(edge))]);
    let optimizer = model
        .builder()
        .group_with("lm_head.weight", tile(8))
        .group_with("*", tile(4))
        .build()
        .unwrap();
    let explained = optimizer.explain().unwrap();
    assert_eq!(explained.parameters[0].spec, "adamw");
    assert_eq!(explained.parameters[1].tiles, 8);
    let every = model
        .builder()
        .group_with("*", tile(4).every_matrix())
        .build()
        .unwrap();
    assert_eq!(every.explain().unwrap().parameters[0].tiles, 32);
}

#[test]
fn a_matrix_without_a_group_is_warned_of() {
    let model = Model::new(&[("a", &[8, 8]), ("b", &[8, 8])]);
    let tile = MuonOptions::specs([KernelSpec::new(Tile::square(8))]);
    let optimizer = model.builder().group_with("a", tile).build().unwrap();
    assert_eq!(optimizer.warnings().len(), 1);
    assert!(optimizer.warnings()[0].contains("parameter b"));
}

#[test]
fn a_group_that_gets_nothing_is_named_with_who_took_it() {
    let model = Model::new(&[
        ("embed.weight", &[32, 16]),
        ("blocks.0.attn.q.weight", &[16, 16]),
    ]);
    let tiles = |tile| MuonOptions::specs([KernelSpec::new(Tile::square(tile))]);
    let optimizer = model
        .builder()
        .group_with("*", tiles(8))
        .group_with("blocks.*.attn.*", tiles(4))
        .group_with("embed*", AdamWOptions::default())
        .build()
        .unwrap();
    let warnings = optimizer.warnings();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        warnings[0].contains(
            "group blocks.*.attn.* gets no parameter: blocks.0.attn.q.weight is in group * "
        ),
        "{warnings:?}"
    );
    // What tiles leave out goes to the group of AdamW that names it.
    assert_eq!(optimizer.explain().unwrap().parameters[0].group, "embed*");
}
