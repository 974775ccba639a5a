use himuon::himuon;

#[himuon(tile = 64)]
struct Layer<'a>(&'a str);

fn main() {}
