use himuon::himuon;

#[himuon(tile = -128)]
struct Layer;

fn main() {}
