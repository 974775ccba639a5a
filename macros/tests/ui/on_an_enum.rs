use himuon::himuon;

#[himuon(tile = 64)]
enum Layer {
    One,
}

fn main() {}
