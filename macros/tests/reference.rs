//! The table of the attribute's documentation against the keys that the grammar accepts.

#![allow(clippy::unwrap_used, clippy::panic)] // Helpers fail their test.

/// The keys, as the refusal of an unknown one lists them.
fn accepted() -> Vec<&'static str> {
    let refusal = include_str!("ui/key_unknown.stderr");
    let line = refusal.lines().next().unwrap();
    let (_, list) = line.split_once("accepted are ").unwrap();
    list.split(", ")
        .flat_map(|part| part.split(" or "))
        .collect()
}

#[test]
fn every_key_has_its_row() {
    let rows: Vec<&str> = include_str!("../src/lib.rs")
        .lines()
        .filter_map(|line| line.strip_prefix("/// | `"))
        .collect();
    for key in accepted() {
        let row = rows.iter().any(|row| {
            let cell = row.split(" | ").next().unwrap();
            cell.split(", ").any(|name| name.trim_matches('`') == key)
        });
        assert!(
            row,
            "add a row for `{key}` to the table in macros/src/lib.rs"
        );
    }
}
