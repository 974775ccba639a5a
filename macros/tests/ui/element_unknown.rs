use himuon::himuon;

#[himuon(tile = 64, element = "f64")]
struct Layer;

fn main() {}
