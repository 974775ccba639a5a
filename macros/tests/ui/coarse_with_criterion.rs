use himuon::himuon;

#[himuon(tile = 64, coarse = 32, criterion = "effective_rank(0.1)")]
struct Layer;

fn main() {}
