use himuon::himuon;

#[himuon(tile = 0)]
struct Layer;

fn main() {}
