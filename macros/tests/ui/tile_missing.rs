use himuon::himuon;

#[himuon(steps = 5)]
struct Layer;

fn main() {}
