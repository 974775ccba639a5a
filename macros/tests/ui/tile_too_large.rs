use himuon::himuon;

#[himuon(tile = (64, 65_537))]
struct Layer;

fn main() {}
