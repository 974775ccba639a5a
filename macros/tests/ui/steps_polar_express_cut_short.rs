use himuon::himuon;

#[himuon(tile = 64, steps = 4, coefficients = "polar-express")]
struct Layer;

fn main() {}
