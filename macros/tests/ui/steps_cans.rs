use himuon::himuon;

#[himuon(tile = 64, steps = 5, coefficients = "cans")]
struct Layer;

fn main() {}
