use himuon::himuon;

#[himuon(tile = 64, power = "1/2", criterion = "fro_norm(1)")]
struct Layer;

fn main() {}
