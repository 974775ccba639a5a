use himuon::himuon;

#[himuon(tile = 64)]
mod layer {}

fn main() {}
