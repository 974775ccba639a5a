use himuon::himuon;

#[himuon(tile = 64, steps = 5, coefficients = "turbo")]
struct Layer;

fn main() {}
