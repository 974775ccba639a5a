use himuon::himuon;

#[himuon(tile = 64, criterion = "fro_norm(1)", scope = "layer")]
struct Layer;

fn main() {}
