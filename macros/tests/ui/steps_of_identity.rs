use himuon::himuon;

#[himuon(tile = 64, steps = 5, power = 1)]
struct Layer;

fn main() {}
