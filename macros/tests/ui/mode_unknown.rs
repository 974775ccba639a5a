use himuon::himuon;

#[himuon(tile = 64, mode = "fast")]
struct Layer;

fn main() {}
