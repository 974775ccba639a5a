use himuon::himuon;

#[himuon(tile = 64, recurrence = "coupled")]
struct Layer;

fn main() {}
