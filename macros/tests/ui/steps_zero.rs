use himuon::himuon;

#[himuon(tile = 64, steps = 0)]
struct Layer;

fn main() {}
