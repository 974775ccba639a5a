use himuon::himuon;

#[himuon(128)]
struct Layer;

fn main() {}
