use himuon::himuon;

#[himuon(tile)]
struct Layer;

fn main() {}
