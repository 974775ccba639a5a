use himuon::himuon;

#[himuon(tile = 64, power = (1, 2))]
struct Layer;

fn main() {}
