use himuon::himuon;

#[himuon(tile = 64, coefficients = "minimax(0.0)")]
struct Layer;

fn main() {}
