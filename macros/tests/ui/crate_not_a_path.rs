use himuon::himuon;

#[himuon(tile = 64, crate = "not a path")]
struct Layer;

fn main() {}
