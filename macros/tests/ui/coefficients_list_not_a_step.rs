use himuon::himuon;

#[himuon(tile = 64, coefficients = [1.5, -0.5, 0.0])]
struct Layer;

fn main() {}
