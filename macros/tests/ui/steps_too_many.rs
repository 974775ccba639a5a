use himuon::himuon;

#[himuon(tile = 64, steps = 11)]
struct Layer;

fn main() {}
