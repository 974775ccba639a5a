//! State files that must be refused, and that a refusal changes nothing.

use std::path::Path;

use himuon::optimizer::MuonOptions;
use himuon::state::StateError;
use himuon::{Error, HiMuon, KernelSpec, Tile};

use crate::model::Model;
use crate::refusals::state_of;

fn stepped(tile: u32) -> (Model, HiMuon) {
    let mut model = Model::new(&[("w", &[24, 20]), ("bias", &[20])]);
    let options = MuonOptions::specs([KernelSpec::new(Tile::square(tile))]);
    let mut optimizer = model.builder().group_with("w", options).build().unwrap();
    model.step(&mut optimizer);
    (model, optimizer)
}

/// Loads bytes that must be refused.
fn refuse(optimizer: &mut HiMuon, path: &Path, bytes: &[u8]) -> StateError {
    std::fs::write(path, bytes).unwrap();
    let before = state_of(optimizer);
    let error = match optimizer.load_state(path) {
        Err(Error::State(error)) => error,
        other => panic!("not refused: {other:?}"),
    };
    assert!(state_of(optimizer) == before, "{error}");
    error
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let (mut model, mut optimizer) = stepped(16);
    let saved = state_of(&optimizer);
    model.step(&mut optimizer);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let header = 8 + u64::from_le_bytes(saved[..8].try_into().unwrap()) as usize;
    let interesting = [
        0,
        1,
        7,
        8,
        9,
        header - 1,
        header,
        header + 1,
        saved.len() - 1,
    ];
    let regular = (0..saved.len()).step_by(97);
    for length in interesting.into_iter().chain(regular) {
        refuse(&mut optimizer, &path, &saved[..length]);
    }
    let mut longer = saved.clone();
    longer.push(0);
    assert!(matches!(
        refuse(&mut optimizer, &path, &longer),
        StateError::Length { .. }
    ));
    std::fs::write(&path, &saved).unwrap();
    optimizer.load_state(&path).unwrap();
}

#[test]
fn a_file_with_one_flipped_bit_is_refused() {
    let (mut model, mut optimizer) = stepped(16);
    let saved = state_of(&optimizer);
    model.step(&mut optimizer);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let header = 8 + u64::from_le_bytes(saved[..8].try_into().unwrap()) as usize;
    // Spaces after the header's last brace carry no meaning: a flip there leaves the state as it was.
    let padding = saved[..header]
        .iter()
        .rev()
        .take_while(|byte| **byte == b' ')
        .count();
    let mut digests = 0;
    for place in (0..header - padding)
        .step_by(11)
        .chain((header..saved.len()).step_by(97))
    {
        let mut damaged = saved.clone();
        damaged[place] ^= 1 << (place % 7);
        let error = refuse(&mut optimizer, &path, &damaged);
        digests += usize::from(matches!(error, StateError::Digest { .. }));
        if place >= header {
            assert!(
                matches!(error, StateError::Digest { .. }),
                "{place}: {error}"
            );
        }
    }
    assert!(digests > 30, "{digests}");
}

#[test]
fn foreign_files_are_refused_with_the_reason() {
    let (_, mut optimizer) = stepped(16);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    assert!(matches!(
        refuse(&mut optimizer, &path, b"not a state"),
        StateError::NotState { .. }
    ));
    let view =
        safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![1], &[0; 4]).unwrap();
    let plain = safetensors::serialize([("w.momentum_buffer", view)], None).unwrap();
    let error = refuse(&mut optimizer, &path, &plain);
    assert!(error.to_string().contains("himuon.schema"), "{error}");
    let missing = optimizer.load_state(folder.path().join("none"));
    assert!(
        matches!(missing, Err(Error::State(StateError::Io { .. }))),
        "{missing:?}"
    );
}

#[test]
fn the_state_of_other_parameters_is_refused_by_name() {
    let (_, mut optimizer) = stepped(16);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let tiles = || MuonOptions::specs([KernelSpec::new(Tile::square(16))]);
    for (parameters, part) in [
        (
            &[("w", &[20, 24][..]), ("bias", &[20])][..],
            "shape [20, 24]",
        ),
        (&[("w", &[24, 20]), ("gain", &[20])], "bias"),
        (&[("w", &[24, 20]), ("bias", &[20]), ("more", &[3])], "more"),
    ] {
        let model = Model::new(parameters);
        let other = model.builder().group_with("w", tiles()).build().unwrap();
        let bytes = state_of(&other);
        let error = refuse(&mut optimizer, &path, &bytes);
        assert!(matches!(error, StateError::Foreign { .. }), "{error}");
        assert!(error.to_string().contains(part), "{error}");
    }
    let adamw = Model::new(&[("w", &[24, 20]), ("bias", &[20])])
        .builder()
        .build()
        .unwrap();
    let bytes = state_of(&adamw);
    let error = refuse(&mut optimizer, &path, &bytes);
    assert!(error.to_string().contains("adamw"), "{error}");
}

#[test]
fn a_later_schema_is_refused_as_such() {
    let (_, mut optimizer) = stepped(16);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let saved = state_of(&optimizer);
    let mark = br#""himuon.schema":"1""#;
    let place = saved
        .windows(mark.len())
        .position(|window| window == mark)
        .unwrap();
    let mut later = saved;
    later[place + mark.len() - 2] = b'2';
    let error = refuse(&mut optimizer, &path, &later);
    assert!(
        matches!(error, StateError::Schema { ref found, .. } if found == "2"),
        "{error}"
    );
}

#[test]
fn a_failed_save_leaves_the_old_file() {
    let (mut model, mut optimizer) = stepped(16);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    optimizer.save_state(&path).unwrap();
    let old = std::fs::read(&path).unwrap();
    model.step(&mut optimizer);
    let nowhere = folder.path().join("no").join("such").join("folder");
    assert!(optimizer.save_state(nowhere).is_err());
    assert_eq!(std::fs::read(&path).unwrap(), old);
    let files = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(files, 1);
}

#[test]
fn updates_without_their_moments_are_refused() {
    let (_, mut optimizer) = stepped(16);
    let saved = state_of(&optimizer);
    let (_, header) = safetensors::SafeTensors::read_metadata(&saved).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&saved).unwrap();
    for kept in ["", "exp_avg", "exp_avg_sq"] {
        let rest = tensors.iter().filter(|(name, _)| {
            !name.starts_with("bias.") || name.strip_prefix("bias.") == Some(kept)
        });
        let bytes = safetensors::serialize(rest, header.metadata().clone()).unwrap();
        let bytes = himuon::state::seal(&bytes).unwrap();
        let refused = optimizer.load_state_from_bytes(&bytes).unwrap_err();
        let text = refused.to_string();
        assert!(text.contains("bias was updated 1 times"), "{text}");
    }
    let same = safetensors::serialize(tensors.iter(), header.metadata().clone()).unwrap();
    assert!(himuon::state::seal(&same).unwrap() == saved);
}

/// Counters are counted on from where they are.
#[test]
fn numbers_that_no_run_reaches_are_refused() {
    let (mut model, mut optimizer) = stepped(16);
    let saved = state_of(&optimizer);
    let (_, header) = safetensors::SafeTensors::read_metadata(&saved).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&saved).unwrap();
    let load = |optimizer: &mut HiMuon, key: &str, from: &str, to: String| {
        let mut metadata = header.metadata().clone().unwrap();
        let text = metadata.get_mut(key).unwrap();
        assert!(text.contains(from), "{text}");
        *text = text.replace(from, &to);
        let bytes = safetensors::serialize(tensors.iter(), Some(metadata)).unwrap();
        optimizer.load_state_from_bytes(&himuon::state::seal(&bytes).unwrap())
    };
    let updates = |count: u64| format!("\"updates\":{count}");
    for count in [u64::MAX, (1 << 62) + 1] {
        let step = load(&mut optimizer, "himuon.step", "1", count.to_string());
        assert!(step.unwrap_err().to_string().contains("himuon.step is"));
        let of_bias = load(
            &mut optimizer,
            "himuon.parameters",
            &updates(1),
            updates(count),
        );
        assert!(of_bias.unwrap_err().to_string().contains("updates of bias"));
    }
    assert!(state_of(&optimizer) == saved);
    load(
        &mut optimizer,
        "himuon.step",
        "1",
        (1_u64 << 62).to_string(),
    )
    .unwrap();
    model.step(&mut optimizer);
    load(
        &mut optimizer,
        "himuon.parameters",
        &updates(1),
        updates(1 << 62),
    )
    .unwrap();
    model.step(&mut optimizer);
}
