use himuon::himuon;

#[himuon(tile = 64, tiles = ["full", 128])]
struct Layer;

fn main() {}
