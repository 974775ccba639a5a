use himuon::{LayerConfig, himuon};

#[himuon(tile = 64, steps = 99)]
struct Layer;

fn uses<L: LayerConfig>() -> usize {
    L::SPECS.len()
}

fn main() {
    uses::<Layer>();
}
