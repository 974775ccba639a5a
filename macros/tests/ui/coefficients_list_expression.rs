use himuon::himuon;

#[himuon(tile = 64, coefficients = [(1.5, -0.5, f32::NAN)])]
struct Layer;

fn main() {}
