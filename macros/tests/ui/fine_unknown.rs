use himuon::himuon;

#[himuon(tile = 64, coarse = 32, fine = "rough")]
struct Layer;

fn main() {}
