use himuon::himuon;

#[himuon(tile = 64, power = "1/2", coefficients = "muon")]
struct Layer;

fn main() {}
