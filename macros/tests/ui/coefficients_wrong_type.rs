use himuon::himuon;

#[himuon(tile = 64, coefficients = 3.4445)]
struct Layer;

fn main() {}
