use himuon::himuon;

#[himuon(tile = 64, steps = 9, power = "1/2")]
struct Layer;

fn main() {}
