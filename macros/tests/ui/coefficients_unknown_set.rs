use himuon::himuon;

#[himuon(tile = 64, coefficients = "best")]
struct Layer;

fn main() {}
