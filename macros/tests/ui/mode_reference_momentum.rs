use himuon::himuon;

#[himuon(tile = 64, mode = "reference", element = "bf16", momentum = "f32")]
struct Layer;

fn main() {}
