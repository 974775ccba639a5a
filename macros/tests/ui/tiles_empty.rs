use himuon::himuon;

#[himuon(tiles = [])]
struct Layer;

fn main() {}
