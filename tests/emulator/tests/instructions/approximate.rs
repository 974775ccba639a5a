//! Approximations over their whole range, against f64, within the bounds that the PTX manual states for hardware.

use crate::common::{Numbers, le_bytes32, words32};
use crate::harness::{kernel, run};
use himuon_emulator::{Device, DeviceConfig};

const COUNT: usize = 1024;

/// `%d` of each `%a` and `%b`, one thread a pair.
fn evaluate(code: &str, inputs: &[[f32; 2]]) -> Vec<f64> {
    let body = format!(
        ".reg .b32 %thread; .reg .f32 %a, %b, %d; .reg .b64 %from, %to;\n\
         mov.u32 %thread, %tid.x; mad.wide.u32 %from, %thread, 8, %in; mad.wide.u32 %to, %thread, 4, %out;\n\
         ld.global.v2.f32 {{%a, %b}}, [%from];\n{code}\nst.global.f32 [%to], %d;"
    );
    let words: Vec<u32> = inputs
        .iter()
        .flatten()
        .map(|value| value.to_bits())
        .collect();
    let device = Device::new(DeviceConfig::sm_90());
    let output = run(
        &device,
        &kernel(&body),
        COUNT as u32,
        &le_bytes32(&words),
        4 * COUNT,
    );
    words32(&output.unwrap())
        .into_iter()
        .map(|bits| f64::from(f32::from_bits(bits)))
        .collect()
}

/// How an error is measured.
#[derive(Clone, Copy)]
enum Bound {
    Absolute(f64),
    Relative(f64),
    /// Units in the last place of the f32 result.
    Ulps(f64),
}

impl Bound {
    fn holds(self, found: f64, exact: f64) -> bool {
        let error = (found - exact).abs();
        match self {
            Self::Absolute(bound) => error <= bound,
            Self::Relative(bound) => error <= bound * exact.abs(),
            Self::Ulps(bound) => {
                // Below the smallest normal number the unit no longer shrinks.
                let exponent = exact.abs().log2().floor().max(-126.0);
                error <= bound * (exponent - 23.0).exp2()
            }
        }
    }
}

/// Numbers of both signs or positive ones, with magnitudes of 2^low to 2^high.
fn spread(seed: u64, (low, high): (f64, f64), signed: bool) -> Vec<[f32; 2]> {
    let mut numbers = Numbers(seed);
    let mut number = || {
        let magnitude = (low + (high - low) * numbers.unit()).exp2();
        let negative = signed && numbers.next() & 1 == 1;
        (if negative { -magnitude } else { magnitude }) as f32
    };
    (0..COUNT).map(|_| [number(), number()]).collect()
}

fn check(code: &str, inputs: &[[f32; 2]], exact: fn(f64, f64) -> f64, bound: Bound) {
    for ([a, b], found) in inputs.iter().zip(evaluate(code, inputs)) {
        let exact = exact(f64::from(*a), f64::from(*b));
        assert!(
            bound.holds(found, exact),
            "{code} of {a:e}, {b:e}: {found:e}, exactly {exact:e}"
        );
    }
}

#[test]
fn reciprocals_quotients_and_roots() {
    let (any, positive) = (
        spread(1, (-125.0, 125.0), true),
        spread(2, (-126.0, 127.0), false),
    );
    check(
        "rcp.approx.f32 %d, %a;",
        &any,
        |a, _| a.recip(),
        Bound::Ulps(1.0),
    );
    check(
        "rcp.approx.ftz.f32 %d, %a;",
        &any,
        |a, _| a.recip(),
        Bound::Ulps(1.0),
    );
    check(
        "sqrt.approx.f32 %d, %a;",
        &positive,
        |a, _| a.sqrt(),
        Bound::Relative(2f64.powi(-23)),
    );
    check(
        "rsqrt.approx.f32 %d, %a;",
        &positive,
        |a, _| a.sqrt().recip(),
        Bound::Relative((-22.9f64).exp2()),
    );
    // Quotients that are neither infinite nor subnormal.
    let quotients = spread(3, (-60.0, 60.0), true);
    for code in ["div.approx.f32 %d, %a, %b;", "div.full.f32 %d, %a, %b;"] {
        check(code, &quotients, |a, b| a / b, Bound::Ulps(2.0));
    }
}

#[test]
fn exponentials_and_logarithms() {
    check(
        "ex2.approx.f32 %d, %a;",
        &spread(4, (-20.0, 6.9), true),
        |a, _| a.exp2(),
        Bound::Relative((-22.5f64).exp2()),
    );
    check(
        "lg2.approx.f32 %d, %a;",
        &spread(5, (-0.999, 0.999), false),
        |a, _| a.log2(),
        Bound::Absolute((-22.6f64).exp2()),
    );
    check(
        "lg2.approx.f32 %d, %a;",
        &spread(6, (1.0, 127.0), false),
        |a, _| a.log2(),
        Bound::Relative(2f64.powi(-22)),
    );
}

#[test]
fn circular_and_hyperbolic_functions() {
    let angles = spread(7, (-20.0, 1.65), true);
    check(
        "sin.approx.f32 %d, %a;",
        &angles,
        |a, _| a.sin(),
        Bound::Absolute((-20.5f64).exp2()),
    );
    check(
        "cos.approx.f32 %d, %a;",
        &angles,
        |a, _| a.cos(),
        Bound::Absolute((-20.5f64).exp2()),
    );
    check(
        "tanh.approx.f32 %d, %a;",
        &spread(8, (-10.0, 5.0), true),
        |a, _| a.tanh(),
        Bound::Relative(2f64.powi(-11)),
    );
}
