use himuon::himuon;

#[himuon(tile = 64, coefficients = [])]
struct Layer;

fn main() {}
