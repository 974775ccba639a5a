//! Files that are cut, flipped, foreign or from the future.

use crate::table::{class, device, entry, table};
use himuon::tuning::{DeviceFingerprint, TuningEntry, TuningError, TuningTable};
use himuon::{KernelSpec, Tile};
use std::path::Path;

fn two_entries() -> TuningTable {
    let mut both = table("first");
    both.insert(&KernelSpec::new(Tile::square(8)), class(), entry("other"));
    both
}

/// Reads a text, and checks that whatever was accepted is what had been written.
fn accepted(text: &[u8], whole: &TuningTable, what: &str) -> usize {
    let Ok(text) = std::str::from_utf8(text) else {
        return 0;
    };
    match TuningTable::from_json(text, Path::new("t.json")) {
        // Another device's name leads to another file: see `load`.
        Ok(read) if read.device != whole.device || read.emulated != whole.emulated => 0,
        Ok(read) => {
            for (key, found) in &read.entries {
                assert_eq!(Some(found), whole.entries.get(key), "{what}");
            }
            assert_eq!(
                read.warnings().len(),
                whole.entries.len() - read.entries.len(),
                "{what}"
            );
            read.entries.len()
        }
        Err(TuningError::Damaged { .. } | TuningError::Foreign { .. }) => 0,
        Err(error) => panic!("{what}: {error}"),
    }
}

#[test]
fn no_flipped_bit_gets_through() {
    let whole = two_entries();
    let text = whole.to_json().unwrap().into_bytes();
    assert_eq!(accepted(&text, &whole, "unchanged"), 2);
    let mut partly = 0;
    for place in 0..text.len() {
        for bit in [0, 1, 4, 6] {
            let mut flipped = text.clone();
            flipped[place] ^= 1 << bit;
            let entries = accepted(&flipped, &whole, &format!("bit {bit} of byte {place}"));
            partly += usize::from(entries == 1);
        }
    }
    // Most flips cost one entry, not the file.
    assert!(partly > text.len(), "{partly} of {}", text.len());
}

#[test]
fn no_cut_file_gets_through() {
    let whole = two_entries();
    let text = whole.to_json().unwrap().into_bytes();
    // Without the newline at its end it is whole.
    for length in 0..text.len() - 1 {
        assert_eq!(accepted(&text[..length], &whole, "cut"), 0, "{length}");
    }
}

#[test]
fn an_entry_that_does_not_read_is_skipped_and_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = two_entries().save(folder.path()).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    // A word that a later version may know, and an edit by hand.
    for (from, to) in [("\"wrong\"", "\"slow\""), ("1000", "1001")] {
        let edited = text.replacen(from, to, 1);
        assert_ne!(edited, text);
        std::fs::write(&path, &edited).unwrap();
        let read = TuningTable::load(folder.path(), &device())
            .unwrap()
            .unwrap();
        assert_eq!(read.entries.len(), 1);
        assert!(
            read.warnings()[0].contains("digest"),
            "{:?}",
            read.warnings()
        );
        let mut more = TuningTable::new(device());
        more.insert(&KernelSpec::new(Tile::square(4)), class(), entry("new"));
        more.save(folder.path()).unwrap();
        let saved = std::fs::read_to_string(&path).unwrap();
        assert!(saved.contains(to), "{saved}");
        let again = TuningTable::load(folder.path(), &device())
            .unwrap()
            .unwrap();
        assert_eq!((again.entries.len(), again.warnings().len()), (2, 1));
        assert!(again.holds_unread());
    }
}

#[test]
fn damaged_and_foreign_files_are_refused_and_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let path = table("first").save(folder.path()).unwrap();
    let good = std::fs::read_to_string(&path).unwrap();
    let later = good.replace("\"schema\": 2", "\"schema\": 3");
    let elsewhere = good.replace("\"kind\": \"cuda\"", "\"kind\": \"cpu\"");
    let emulated = good.replace("\"emulated\": false", "\"emulated\": true");
    let binary = [0xff, 0xfe, 0x00];
    let bad: [(&[u8], &str); 7] = [
        (&good.as_bytes()[..good.len() / 2], "is not a tuning table"),
        (later.as_bytes(), "schema 3, expected 2"),
        (elsewhere.as_bytes(), "table of device"),
        (emulated.as_bytes(), "expected real"),
        (&binary, "is not a tuning table"),
        (b"{}", "schema none"),
        (b"[]", "is not a tuning table"),
    ];
    for (bad, says) in bad {
        assert_ne!(bad, good.as_bytes());
        std::fs::write(&path, bad).unwrap();
        let error = TuningTable::load(folder.path(), &device()).unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
        assert!(table("second").save(folder.path()).is_err());
        assert!(table("second").check_savable(folder.path()).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), bad);
    }
}

#[test]
fn a_choice_by_hand_is_a_table_too() {
    let mut table = TuningTable::new(DeviceFingerprint::cpu());
    let spec = KernelSpec::new(Tile::square(16));
    table.insert(&spec, class(), TuningEntry::chosen("mine"));
    let text = table.to_json().unwrap();
    let read = TuningTable::from_json(&text, Path::new("mine.json")).unwrap();
    assert_eq!(read, table);
    assert_eq!(read.choices(&spec, class())[0].digest, "");
}
