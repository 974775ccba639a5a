use himuon::himuon;

#[himuon(tile = 64, fine = "fused")]
struct Layer;

fn main() {}
