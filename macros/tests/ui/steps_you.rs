use himuon::himuon;

#[himuon(tile = 64, steps = 6, coefficients = "you")]
struct Layer;

fn main() {}
