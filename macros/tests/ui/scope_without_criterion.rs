use himuon::himuon;

#[himuon(tile = 64, scope = "matrix")]
struct Layer;

fn main() {}
