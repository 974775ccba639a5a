//! Attributes, visibility, documentation and fields stay.

mod layers {
    use himuon::himuon;

    /// A layer.
    #[himuon(tile = 64, coefficients = [(1.5, -0.5, 0.0)])]
    #[derive(Clone, Debug, Default, PartialEq)]
    pub(crate) struct Config {
        /// Its width.
        pub(super) width: usize,
        pub(super) name: String,
    }

    /// A tuple.
    #[derive(Clone, Copy)]
    #[himuon(tile = 32, power = "1/4")]
    pub(crate) struct Tuple(#[allow(dead_code)] pub(super) u8);
}

use himuon::LayerConfig;
use layers::{Config, Tuple};

#[test]
fn everything_else_on_the_struct_stays() {
    let config = Config {
        width: 3,
        ..Config::default()
    };
    assert_eq!(config.clone(), config);
    assert!(config.name.is_empty());
    let _ = Tuple(1);
    assert_eq!((Config::SPECS[0].steps, Tuple::SPECS[0].steps), (1, 6));
}
