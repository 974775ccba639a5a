use himuon::himuon;

#[himuon(tile = 64, criterion = "fro_norm(1)", otherwise = "zero")]
struct Layer;

fn main() {}
