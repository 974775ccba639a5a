use himuon::himuon;

#[himuon(tile = "full", coarse = 32)]
struct Layer;

fn main() {}
