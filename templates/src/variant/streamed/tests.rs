use super::*;
use crate::variant::Variant;

const SETTINGS: Streamed = Streamed {
    block: 128,
    warps: 8,
    stages: 3,
};

fn parsed(text: &str) -> KernelSpec {
    text.parse().unwrap()
}

fn names(spec: &str, reports: bool) -> Vec<&'static str> {
    let launches = SETTINGS.map_launches(&parsed(spec), reports);
    launches.iter().map(|launch| launch.entry.name()).collect()
}

#[test]
fn bytes_of_a_tile() {
    // 4096 x 4096 in bf16: X in f32 and twice as an operand, A and B, two words for 2048 patches.
    let square: u64 = 4096 * 4096;
    let tile = SETTINGS.tile(&parsed("tile=full element=bf16"), 4096, 4096);
    assert_eq!(
        tile.workspace_bytes,
        (4 + 2 * 2 + 2 * 2) * square + 8 * 2048
    );
    assert_eq!(
        (tile.patches, tile.triangle, tile.blocks),
        (2048, 528, 1024)
    );
    // f32 is its own operand; a cubic has no square. 100 rows are padded to 112 numbers, 200 to 208.
    let tile = SETTINGS.tile(&parsed("tile=full coefficients=cubic"), 200, 100);
    let padded = |bytes: u64| bytes.next_multiple_of(128);
    let expected = 2 * padded(4 * 100 * 208) + padded(4 * 100 * 112) + 128;
    assert_eq!(tile.workspace_bytes, expected);
    assert_eq!((tile.patches, tile.triangle, tile.blocks), (4, 1, 2));
    // The orientation does not matter.
    let spec = parsed("tile=full power=1/2 element=bf16");
    assert_eq!(SETTINGS.tile(&spec, 30, 500), SETTINGS.tile(&spec, 500, 30));
}

#[test]
fn a_step_is_three_products_a_step_of_the_recurrence() {
    let start = ["himuon_scan", "himuon_decide", "himuon_normalise"];
    let step = ["himuon_gram", "himuon_square", "himuon_multiply"];
    let expected: Vec<_> = start
        .into_iter()
        .chain(step)
        .chain(step)
        .chain(["himuon_finish"])
        .collect();
    assert_eq!(names("tile=full steps=2", false), expected);
    assert_eq!(names("tile=full steps=2", true).len(), expected.len() + 2);
    // A norm of the whole matrix needs every report.
    assert_eq!(
        names("tile=full power=1/2", false),
        names("tile=full power=1/2", true)
    );
}

#[test]
fn the_coupled_form_ends_without_y() {
    let spec = parsed("tile=full power=1/3 recurrence=coupled steps=2");
    let products: Vec<_> = SETTINGS
        .map_launches(&spec, true)
        .into_iter()
        .filter(|launch| launch.entry == StreamedEntry::Multiply)
        .map(|launch| (launch.index, launch.turn))
        .collect();
    // p = 1 - 2/3: Z takes two products a step, Y three.
    assert_eq!(
        products,
        [(0, 0), (0, 1), (0, 2), (0, 3), (0, 4), (1, 0), (1, 1)]
    );
}

#[test]
fn entries_are_listed_once_and_all_that_is_launched_is_among_them() {
    for text in [
        "tile=full",
        "tile=full coefficients=turbo",
        "tile=full power=1",
        "tile=full power=1/2",
        "tile=full criterion=effective_rank(0.1)",
    ] {
        let spec = parsed(text);
        let entries = SETTINGS.entries(&spec);
        assert_eq!(entries[0], StreamedEntry::Layout);
        let launches = SETTINGS.map_launches(&spec, true).into_iter();
        for launch in launches.chain(SETTINGS.update_launches(&spec)) {
            let listed = entries.iter().filter(|entry| **entry == launch.entry);
            assert_eq!(listed.count(), 1, "{text}: {launch:?}");
        }
    }
}

#[test]
fn settings_read_back() {
    let variant = Variant::Streamed(SETTINGS);
    assert_eq!(variant.to_string(), "streamed:block=128,warps=8,stages=3");
    assert_eq!(variant.to_string().parse(), Ok(variant));
    for wrong in [
        "block=128,warps=8",
        "warps=8,block=128,stages=3",
        "block=128,warps=8,stages=3,x",
    ] {
        assert!(
            format!("streamed:{wrong}").parse::<Variant>().is_err(),
            "{wrong}"
        );
    }
}
