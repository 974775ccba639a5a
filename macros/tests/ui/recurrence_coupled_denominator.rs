use himuon::himuon;

#[himuon(tile = 64, power = "1/9", recurrence = "coupled")]
struct Layer;

fn main() {}
