use himuon::himuon;

#[himuon(tile = 64, element = "f32", master_weights = true)]
struct Layer;

fn main() {}
