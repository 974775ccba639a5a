use himuon::himuon;

#[himuon(tile = 64, coefficients = [(8.287, -23.596, 17.3), (4.107, -2.948, 0.545)])]
struct Layer;

fn main() {}
