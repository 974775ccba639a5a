use himuon::himuon;

#[himuon(tile = 64, step = 5)]
struct Layer;

fn main() {}
