use himuon::himuon;

#[himuon(tiles = 128)]
struct Layer;

fn main() {}
