use himuon::himuon;

#[himuon(tile = 64, coarse = 1000)]
struct Layer;

fn main() {}
