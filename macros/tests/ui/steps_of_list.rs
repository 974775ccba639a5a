use himuon::himuon;

#[himuon(tile = 64, steps = 3, coefficients = [(1.5, -0.5, 0.0), (1.5, -0.5, 0.0)])]
struct Layer;

fn main() {}
