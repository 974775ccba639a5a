use himuon::himuon;

#[himuon(tile = 64, power = 1, coarse = 32)]
struct Layer;

fn main() {}
