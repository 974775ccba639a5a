use himuon::himuon;

#[himuon(tile = 64, steps = "five")]
struct Layer;

fn main() {}
