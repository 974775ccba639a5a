use himuon::himuon;

#[himuon(tile = 64, momentum = "f16")]
struct Layer;

fn main() {}
