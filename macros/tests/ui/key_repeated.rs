use himuon::himuon;

#[himuon(tile = 64, steps = 5, steps = 5)]
struct Layer;

fn main() {}
