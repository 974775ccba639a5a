use himuon::himuon;

#[himuon(tile = 64, criterion = "fro_norm")]
struct Layer;

fn main() {}
