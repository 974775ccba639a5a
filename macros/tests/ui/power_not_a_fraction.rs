use himuon::himuon;

#[himuon(tile = 64, power = "one half")]
struct Layer;

fn main() {}
