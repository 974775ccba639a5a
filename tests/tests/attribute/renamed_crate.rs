//! The crate under another name, with names of the prelude shadowed.

pub(crate) mod vendor {
    pub(crate) use ::himuon as optimizer;
}

#[allow(non_camel_case_types, dead_code)]
mod shadowed {
    struct Some;
    struct None;
    struct Option;
    struct std;
    struct core;
    struct himuon;

    #[::himuon::himuon(
        tile = 64,
        power = "1/2",
        criterion = "always",
        crate = "crate::renamed_crate::vendor::optimizer"
    )]
    pub(super) struct Layer;
}

#[test]
fn another_path_to_the_crate() {
    fn specs<L: vendor::optimizer::LayerConfig>() -> usize {
        L::SPECS.len()
    }
    assert_eq!(specs::<shadowed::Layer>(), 1);
}
