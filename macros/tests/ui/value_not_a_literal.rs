use himuon::himuon;

const EDGE: u32 = 64;

#[himuon(tile = EDGE)]
struct Layer;

fn main() {}
