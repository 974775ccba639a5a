use himuon::himuon;

#[himuon(tile = 64, otherwise = "momentum")]
struct Layer;

fn main() {}
