use himuon::himuon;

#[himuon(tile = 64, element = "bf16", master_weights = "f32")]
struct Layer;

fn main() {}
