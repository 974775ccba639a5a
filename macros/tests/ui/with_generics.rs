use himuon::himuon;

#[himuon(tile = 64)]
struct Layer<T>(T);

fn main() {}
