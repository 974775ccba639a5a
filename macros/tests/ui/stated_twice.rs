use himuon::himuon;

#[himuon(tile = "full")]
#[himuon(tile = 64)]
struct Layer;

fn main() {}
