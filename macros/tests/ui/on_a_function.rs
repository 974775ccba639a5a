use himuon::himuon;

#[himuon(tile = 64)]
fn layer() {}

fn main() {}
