use himuon::himuon;

#[himuon(tiles = [128, 64, (128, 128)])]
struct Layer;

fn main() {}
