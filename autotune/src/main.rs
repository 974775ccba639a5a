//! The `himuon` command.

fn main() {
    println!("himuon {}", env!("CARGO_PKG_VERSION"));
}
