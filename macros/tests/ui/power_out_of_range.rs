use himuon::himuon;

#[himuon(tile = 64, power = 1.5)]
struct Layer;

fn main() {}
