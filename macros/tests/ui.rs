//! What the attribute refuses: one program per rule, the compiler's whole output beside it. What it accepts is
//! in `attribute` (a program that must pass here would cost one build per program).
//!
//! After a deliberate change of a text: `TRYBUILD=overwrite cargo test -p himuon-macros --test ui`.

#[test]
fn attribute() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
