use himuon::himuon;

#[himuon(tile = "whole", element = "f64")]
struct Layer;

fn main() {}
