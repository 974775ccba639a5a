use himuon::himuon;

#[himuon(tile = (64, 64, 64))]
struct Layer;

fn main() {}
