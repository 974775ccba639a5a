use himuon::himuon;

#[himuon(tile = 64, mode = "reference", coefficients = "turbo")]
struct Layer;

fn main() {}
