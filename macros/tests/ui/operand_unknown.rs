use himuon::himuon;

#[himuon(tile = 64, operand = "fp8")]
struct Layer;

fn main() {}
