use himuon::himuon;

#[himuon(tile = 64, power = "1/2", recurrence = "fitted", coefficients = "muon")]
struct Layer;

fn main() {}
