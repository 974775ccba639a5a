use himuon::himuon;

#[himuon(tile = true)]
struct Layer;

fn main() {}
