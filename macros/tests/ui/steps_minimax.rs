use himuon::himuon;

#[himuon(tile = 64, steps = 12, coefficients = "minimax(1e-3)")]
struct Layer;

fn main() {}
