use himuon::himuon;

#[himuon(tile = "whole")]
struct Layer;

fn main() {}
