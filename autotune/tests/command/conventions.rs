//! What every verb has in common.

use crate::common::{Folder, apply, f32_bytes, himuon, himuon_with_cache, run_with};
use himuon::reference::Matrix;
use safetensors::Dtype;

#[test]
fn help_of_every_verb_has_an_example() {
    let help = himuon(["--help"]);
    assert_eq!(help.code, 0);
    for verb in [
        "apply",
        "batch-size",
        "bench",
        "cache",
        "completions",
        "devices",
        "diagnose",
        "emit",
        "explain",
        "man",
        "report",
        "tune",
    ] {
        assert!(help.out.contains(verb), "{}", help.out);
        let help = himuon([verb, "--help"]);
        assert_eq!(help.code, 0);
        assert!(help.out.contains(&format!("himuon {verb}")), "{}", help.out);
        assert!(help.out.contains("Example"), "{}", help.out);
    }
}

#[test]
fn wrong_use_exits_with_2() {
    for arguments in [
        vec![],
        vec!["fly"],
        vec!["devices", "--tile"],
        vec!["-q", "-v", "devices"],
    ] {
        let run = himuon(&arguments);
        assert_eq!((run.code, run.out.as_str()), (2, ""), "{arguments:?}");
        let run = himuon(arguments.iter().chain(&["--json"]));
        assert_eq!(run.json()["exit_code"], 2, "{arguments:?}");
        assert!(!run.err.is_empty(), "{arguments:?}");
    }
}

#[test]
fn every_verb_speaks_json_and_keeps_quiet() {
    let folder = Folder::new();
    let matrix = Matrix::from_fn(16, 16, |row, column| (1 + row * column % 7) as f64);
    let input = folder.write_matrix("m.safetensors", &matrix);
    let cache = folder.path("cache");
    let [output, export, merged, page] = ["o.safetensors", "e.json", "m.json", "r.html"]
        .map(|name| folder.path(name).to_str().unwrap().to_owned());
    let input = input.to_str().unwrap();
    let tune = "tune --tile 4 --shape 16x16 --budget 0.1";
    for (verb, key) in [
        (tune, "outcomes"),
        ("tune --tile 16 --arch sm_80 --shape 64x64", "card"),
        (&format!("tune --advise {input}"), "tiles"),
        ("bench --tile 4 --shape 16x16", "kernels"),
        (
            &format!("apply --in {input} --out {output} --tile 4"),
            "matrices",
        ),
        (&format!("explain --in {input} --tile 4"), "parameters"),
        ("emit --tile 16", "text"),
        ("devices", "cpu"),
        (&format!("diagnose {input}"), "matrices"),
        ("cache path", "path"),
        ("cache ls", "tables"),
        (&format!("cache export {export}"), "entries"),
        (&format!("cache import {export}"), "entries"),
        (
            &format!("cache merge {export} {export} --out {merged}"),
            "entries",
        ),
        (&format!("cache diff {export} {merged}"), "differences"),
        (&format!("report --out {page}"), "file"),
        ("cache gc", "candidates"),
        ("cache clear", "removed"),
    ] {
        let words: Vec<&str> = verb.split(' ').collect();
        let json = himuon_with_cache(&cache, &[&words[..], &["--json"]].concat());
        assert_eq!(json.code, 0, "{verb}: {}", json.err);
        let json = json.json();
        assert!(
            !json[key].is_null() && json["warnings"].is_array(),
            "{verb}: {json}"
        );
        let quiet = himuon_with_cache(&cache, &[&words[..], &["-q"]].concat());
        assert_eq!((quiet.code, quiet.err.as_str()), (0, ""), "{verb}");
        // What was asked for is no word about it.
        let is_product = ["emit --tile 16", "cache path"].contains(&verb);
        assert_eq!(!quiet.out.is_empty(), is_product, "{verb}");
    }
}

#[test]
fn devices_name_the_instruction_set() {
    let run = himuon(["devices", "--json"]);
    assert_eq!(run.code, 0);
    let json = run.json();
    assert_eq!(
        json["cpu"]["instruction_set"],
        himuon::cpu::InstructionSet::best().name()
    );
    if json["cuda"]["available"] == true {
        println!("SKIPPED: this machine has a CUDA driver, so nothing explains its absence");
        return;
    }
    let text = himuon(["devices"]).out;
    assert!(text.contains("cuda  none: no CUDA driver"), "{text}");
    assert!(text.contains("libcuda.so"), "{text}");
}

#[test]
fn emitted_text_is_the_same_bytes_every_time_and_as_the_library_renders() {
    let arguments = [
        "emit",
        "--tile",
        "64",
        "--power",
        "1/2",
        "--architecture",
        "sm_90a",
    ];
    let (first, second) = (himuon(arguments), himuon(arguments));
    assert_eq!(first.code, 0, "{}", first.err);
    assert_eq!(first.out, second.out);
    let spec = "tile=64 power=1/2".parse().unwrap();
    let architecture = "90a".parse().unwrap();
    let variant = himuon::templates::Variant::default_for(&spec, architecture);
    let rendered = himuon_codegen::render(&spec, &variant, architecture).unwrap();
    assert_eq!(first.out.trim_end(), rendered.text.trim_end());
    let folder = Folder::new();
    let kernels = folder.path("kernels");
    let more = ["--out", kernels.to_str().unwrap(), "--json"];
    let run = himuon(arguments.into_iter().chain(more));
    assert_eq!(run.code, 0, "{}", run.err);
    let file = kernels.join(rendered.id.to_string()).join("kernel.cu");
    assert_eq!(std::fs::read_to_string(file).unwrap(), rendered.text);
    assert_eq!(run.json()["id"], rendered.id.to_string());
}

#[test]
fn the_command_in_a_kernels_head_remakes_it() {
    for arguments in [
        &[
            "--tile",
            "64x256",
            "--coefficients",
            "minimax(1e-2)",
            "--steps",
            "3",
        ][..],
        &["--tile", "128", "--element", "bf16", "--arch", "90a"][..],
    ] {
        let first = himuon(["emit"].iter().chain(arguments));
        assert_eq!(first.code, 0, "{}", first.err);
        let command = first.out.lines().nth(1).unwrap();
        let command = command.trim_start_matches("//").trim();
        let words = words(command);
        assert_eq!(words[0], "himuon", "{command}");
        let second = himuon(&words[1..]);
        assert_eq!(second.code, 0, "{command}: {}", second.err);
        assert_eq!(first.out, second.out);
    }
}

/// The words of a shell command in which single quotes alone quote.
fn words(command: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (index, part) in command.split('\'').enumerate() {
        if index % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

#[test]
fn a_whole_specification_excludes_its_parts() {
    let run = himuon(["emit", "--spec", "tile=8", "--steps", "5"]);
    assert_eq!(run.code, 2);
    assert!(run.err.contains("--spec"), "{}", run.err);
    let run = himuon(["emit", "--spec", "tile=8 speed=9"]);
    assert_eq!(run.code, 2);
    assert!(run.err.contains("unknown key `speed`"), "{}", run.err);
}

#[test]
fn quiet_prints_nothing_and_verbose_more() {
    let folder = Folder::new();
    let matrix = Matrix::from_fn(4, 4, |row, column| (1 + row * column) as f64);
    let input = folder.write_matrix("m.safetensors", &matrix);
    let run = |flag| apply(&input, &folder.path("o"), &["--tile", "2", flag]);
    let quiet = run("-q");
    assert_eq!(
        (quiet.code, quiet.out.as_str(), quiet.err.as_str()),
        (0, "", "")
    );
    let verbose = run("-v");
    assert!(
        verbose.err.contains("tile=2x2") || verbose.err.contains("tile=2 "),
        "{}",
        verbose.err
    );
    // Not a terminal: no colours, no bar.
    assert!(!verbose.err.contains('\u{1b}'));
}

#[test]
fn what_the_library_says_is_printed() {
    let folder = Folder::new();
    let matrix = Matrix::from_fn(4, 4, |row, column| (1 + row * column) as f64);
    let input = folder.write_matrix("m.safetensors", &matrix);
    let cache = folder.path("no-folder");
    std::fs::write(&cache, "in the way of the cache").unwrap();
    let run = |log: &str, more: &[&str]| {
        let explain = ["explain", "--in", input.to_str().unwrap(), "--tile=2"];
        let environment = [
            ("HIMUON_LOG", log),
            ("HIMUON_CACHE_DIR", cache.to_str().unwrap()),
        ];
        run_with(&[&explain, more].concat(), &environment)
    };
    for (log, more, printed) in [
        ("", &[][..], true),
        ("warn", &[], true),
        ("error", &[], false),
        ("off", &[], false),
        ("error", &["-v"], true),
        ("debug", &["-q"], false),
    ] {
        let run = run(log, more);
        assert_eq!(run.code, 0, "{}", run.err);
        let found = run.err.contains("warning: ") && run.err.contains("default variants are used");
        assert_eq!(found, printed, "{log} {more:?}: {}", run.err);
    }
    let json = run("off", &["--json"]).json();
    let warnings = json["warnings"].as_array().unwrap();
    let is_said = |text: &str| text.contains("default variants are used");
    assert!(
        warnings.iter().any(|text| is_said(text.as_str().unwrap())),
        "{json}"
    );
    let wrong = run("loud", &[]);
    assert_eq!(wrong.code, 2);
    assert!(
        wrong.err.contains("off, error, warn, info or debug"),
        "{}",
        wrong.err
    );
}

#[test]
fn completions_and_manual_name_every_verb() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let run = himuon(["completions", shell]);
        assert_eq!(run.code, 0, "{shell}: {}", run.err);
        assert!(
            run.out.contains("tune") && run.out.contains("report"),
            "{shell}"
        );
    }
    let page = himuon(["man"]);
    assert_eq!(page.code, 0, "{}", page.err);
    assert!(
        page.out.contains(".TH himuon 1") && page.out.contains("himuon\\-tune(1)"),
        "{}",
        page.out
    );
    let folder = Folder::new();
    let out = folder.path("man1");
    assert_eq!(himuon(["man", "--out", out.to_str().unwrap()]).code, 0);
    assert!(out.join("himuon.1").exists() && out.join("himuon-tune.1").exists());
}

/// What is said aside is no reason to stop: not where nobody reads it any more, as below `2>&1 | head`.
#[test]
fn warnings_that_nobody_reads_do_not_stop_the_work() {
    let folder = Folder::new();
    let tensors = [
        ("w", Dtype::F32, vec![4, 4], f32_bytes(&[1.0; 16])),
        ("mask", Dtype::I64, vec![2], vec![0; 16]),
    ];
    let input = folder.write("m.safetensors", &tensors);
    let output = folder.path("o.safetensors");
    let unread = || {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        writer
    };
    for (in_file, code) in [(&input, 0), (&folder.path("absent"), 1)] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_himuon"));
        command.arg("apply").arg("--in").arg(in_file);
        command.arg("--out").arg(&output).arg("--tile=2");
        command.stdout(unread()).stderr(unread());
        assert_eq!(command.status().unwrap().code(), Some(code), "{in_file:?}");
    }
    assert!(output.exists());
}
