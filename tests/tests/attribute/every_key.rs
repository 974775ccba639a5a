//! Every key, each with the value that it stands for.

use himuon::templates::{Architecture, KernelSpec};
use himuon::{LayerConfig, himuon};

#[himuon(tile = 128)]
struct Default;

#[himuon(
    tile = 128,
    steps = 5,
    coefficients = "polar-express",
    element = "bf16"
)]
struct PolarExpress;

#[himuon(tile = (64, 256), power = 0.5, steps = 6, recurrence = "fitted", momentum = "bf16")]
struct Fitted;

#[himuon(
    tile = "full",
    power = "2/3",
    recurrence = "coupled",
    weight = "f16",
    operand = "tf32"
)]
struct Coupled;

#[himuon(tile = "16x32", power = "1/3", recurrence = "authors")]
struct Authors;

#[himuon(tile = 8, power = 1)]
struct Identity;

#[himuon(tiles = ["full", 128, (64, 256)], steps = 3, coefficients = "minimax(1e-2)",)]
struct Scheduled;

/// Values that fragments of a macro bring.
macro_rules! filled_in {
    ($name:ident, $tile:expr, $coefficients:expr) => {
        #[himuon(tile = $tile, coefficients = $coefficients)]
        struct $name;
    };
}
filled_in!(FilledIn, (64, 256), [(1.5, -0.5, 0.0)]);

#[himuon(tile = 64, coefficients = [(1.5, -0.5, 0), (1.875, -1.25, 0.375)], coarse = 0)]
struct Custom;

#[himuon(tiles = [32, "full"], steps = 5, coarse = 16, fine = "fused")]
struct TwoLevels;

#[himuon(
    tile = 64,
    mode = "reference",
    element = "bf16",
    criterion = "effective_rank(0.1)",
    scope = "tile",
    otherwise = "rms-matched"
)]
struct Criterion;

#[himuon(tile = 16, element = "bf16", master_weights = true)]
struct Masters;

#[himuon(tile = 64, criterion = "min_gap(0.01)", scope = "matrix")]
struct OnTheHost;

fn check<L: LayerConfig>(specs: &[&str]) {
    let expected: Result<Vec<KernelSpec>, _> = specs.iter().map(|text| text.parse()).collect();
    assert_eq!(Ok(L::SPECS.to_vec()), expected);
    // The attribute's text is what codegen renders: the tuner's and the runtime's kernels are the user's.
    let rendered = himuon_codegen::sources(L::SPECS).ok();
    assert_eq!(Some(L::SOURCES), rendered.as_deref());
    for (index, spec) in L::SPECS.iter().enumerate() {
        assert!(spec.check().is_ok());
        let sources: Vec<_> = L::SOURCES
            .iter()
            .filter(|source| source.spec == index)
            .collect();
        assert_eq!(sources.len(), Architecture::ALL.len());
        for (source, architecture) in sources.iter().zip(Architecture::ALL) {
            assert_eq!(source.architecture, architecture.number());
            assert!(source.text.contains(&spec.to_string()));
        }
    }
}

#[test]
fn every_key_stands_for_its_value() {
    check::<Default>(&["tile=128"]);
    check::<PolarExpress>(&["tile=128 coefficients=polar-express weight=bf16 operand=bf16"]);
    check::<Fitted>(&["tile=64x256 power=1/2 momentum=bf16"]);
    check::<Coupled>(&["tile=full power=2/3 recurrence=coupled weight=f16 operand=tf32"]);
    check::<Authors>(&["tile=16x32 power=1/3 recurrence=authors"]);
    check::<Identity>(&["tile=8 power=1"]);
    check::<Scheduled>(&[
        "tile=full steps=3 coefficients=minimax(0.01)",
        "tile=128 steps=3 coefficients=minimax(0.01)",
        "tile=64x256 steps=3 coefficients=minimax(0.01)",
    ]);
    check::<Custom>(&["tile=64 coefficients=[(1.5,-0.5,0.0),(1.875,-1.25,0.375)]"]);
    check::<FilledIn>(&["tile=64x256 coefficients=[(1.5,-0.5,0.0)]"]);
    check::<Masters>(&["tile=16 element=bf16 master_weights=true"]);
    check::<Criterion>(&[
        "tile=64 mode=reference element=bf16 criterion=effective_rank(0.1) otherwise=rms-matched",
    ]);
    // The whole matrix among the tiles of a schedule has nothing to couple; a coarse part has no CUDA kernel.
    let expected = ["tile=32 coarse=16 fine=fused", "tile=full"].map(str::parse);
    assert_eq!(
        TwoLevels::SPECS.iter().cloned().map(Ok).collect::<Vec<_>>(),
        expected
    );
    assert!(TwoLevels::SOURCES.iter().all(|source| source.spec == 1));
    assert_eq!(TwoLevels::SOURCES.len(), Architecture::ALL.len());
    assert_eq!(OnTheHost::SPECS.len(), 1);
    assert!(OnTheHost::SOURCES.is_empty());
}
