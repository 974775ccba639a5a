//! What a step reports of each tile.

use himuon::optimizer::{MuonOptions, ProbeOptions, View};
use himuon::reference::{Matrix, ReferenceMap, tiles};
use himuon::{KernelSpec, Tile};

use crate::model::Model;

#[test]
fn every_tile_is_reported_and_reporting_changes_no_bit() {
    let spec = KernelSpec::new(Tile::square(16));
    let options = || MuonOptions::specs([spec.clone()]).view(View::Stack);
    let start = Model::new(&[("experts", &[2, 20, 40]), ("bias", &[7])]);
    let mut model = start.clone();
    let builder = model.builder().group_with("experts", options());
    let mut optimizer = builder.diagnostics(true).build().unwrap();
    assert!(optimizer.tile_diagnostics(0).is_empty());
    let mut gradients = model.gradients(0);
    // Row 18, column 5 of the second matrix: its tile 3 of 2 x 3.
    gradients[0][800 + 18 * 40 + 5] = f32::NAN;
    model.step_with(&mut optimizer, &gradients).unwrap();
    let explained = optimizer.explain().unwrap();
    let found = optimizer.tile_diagnostics(0);
    let kept = size_of_val(found) as u64;
    assert_eq!(explained.totals.diagnostics_bytes, kept);
    assert_eq!(found.len(), 2 * 2 * 3);
    assert!(optimizer.tile_diagnostics(1).is_empty());
    let map = ReferenceMap::new(&spec).unwrap();
    for (place, found) in found.iter().enumerate() {
        assert_eq!(found.non_finite, place == 6 + 3, "tile {place}");
        if found.non_finite {
            continue;
        }
        let part = &gradients[0][place / 6 * 800..][..800];
        // The first Nesterov momentum is 1.95 g.
        let update = Matrix::from_f32(20, 40, part).scaled(1.0 + f64::from(0.95f32));
        let bounds = &tiles(spec.tile, 20, 40)[place % 6];
        let mapped = map.tile(&update.cut(bounds), true);
        let close = |found: f32, expected: f64| (f64::from(found) / expected - 1.0).abs() < 1e-4;
        assert!(close(found.norm, mapped.norm), "tile {place}");
        assert!(
            close(found.inner_product, mapped.inner_product),
            "tile {place}"
        );
        assert!(
            close(found.mapped_norm_squared, mapped.values.norm_squared()),
            "tile {place}"
        );
        assert!(found.orthogonalised);
    }
    let mut quiet = start.clone();
    let mut other = quiet
        .builder()
        .group_with("experts", options())
        .build()
        .unwrap();
    quiet.step_with(&mut other, &gradients).unwrap();
    assert_eq!(model.bits(), quiet.bits());
}

#[test]
fn what_the_probe_takes_is_explained() {
    let model = Model::new(&[("small", &[8, 8]), ("large", &[512, 256])]);
    let bytes = |probe: Option<ProbeOptions>| {
        let spec = KernelSpec::new(Tile::square(8));
        let builder = model.builder().group_with("*", MuonOptions::specs([spec]));
        let builder = match probe {
            Some(probe) => builder.probe(probe),
            None => builder,
        };
        let explained = builder.build().unwrap().explain().unwrap();
        let text = explained.to_string();
        assert!(text.contains("diagnostics 0 B, probe "), "{text}");
        explained.totals.probe_bytes
    };
    // The matrix is larger than the scratch of a map of tiles.
    let large = 4 * 512 * 256;
    let tiles_alone = bytes(Some(ProbeOptions::every(1).whole_every(0)));
    assert_eq!(bytes(None), 0);
    assert_eq!(tiles_alone, 4 * large);
    // Momentum and two maps, and the scratch of the map of the whole.
    assert!(bytes(Some(ProbeOptions::every(1))) > tiles_alone);
}
