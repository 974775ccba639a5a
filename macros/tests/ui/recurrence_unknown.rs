use himuon::himuon;

#[himuon(tile = 64, power = "1/2", recurrence = "best")]
struct Layer;

fn main() {}
