use himuon::himuon;

#[himuon(tile = 64, coefficients = [(1.5, -0.5)])]
struct Layer;

fn main() {}
