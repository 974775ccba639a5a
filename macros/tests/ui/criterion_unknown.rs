use himuon::himuon;

#[himuon(tile = 64, criterion = "stable_rank(0.1)")]
struct Layer;

fn main() {}
