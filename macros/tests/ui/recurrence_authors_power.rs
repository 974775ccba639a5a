use himuon::himuon;

#[himuon(tile = 64, power = "1/2", recurrence = "authors")]
struct Layer;

fn main() {}
