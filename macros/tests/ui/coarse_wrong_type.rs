use himuon::himuon;

#[himuon(tile = 64, coarse = "32")]
struct Layer;

fn main() {}
