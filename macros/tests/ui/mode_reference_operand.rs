use himuon::himuon;

#[himuon(tile = 64, mode = "reference", operand = "tf32")]
struct Layer;

fn main() {}
