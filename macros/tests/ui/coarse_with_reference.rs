use himuon::himuon;

#[himuon(tile = 64, mode = "reference", coarse = 32)]
struct Layer;

fn main() {}
