use himuon::himuon;

#[himuon(tile = 64, criterion = "effective_rank(1.5)")]
struct Layer;

fn main() {}
