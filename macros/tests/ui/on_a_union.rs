use himuon::himuon;

#[himuon(tile = 64)]
union Layer {
    a: u32,
    b: f32,
}

fn main() {}
