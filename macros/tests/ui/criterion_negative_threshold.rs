use himuon::himuon;

#[himuon(tile = 64, criterion = "fro_norm(-1)")]
struct Layer;

fn main() {}
