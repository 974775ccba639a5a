//! Checks of hand-written gradients against central differences.

use candle_core::{Device, Result, Tensor, Var};

/// Reproducible values in about [-1.5, 1.5].
pub(super) fn sample(seed: u64, shape: &[usize]) -> Result<Tensor> {
    let count: usize = shape.iter().product();
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let values: Vec<f32> = (0..count)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1_u64 << 24) as f32 * 3.0 - 1.5
        })
        .collect();
    Tensor::from_vec(values, shape, &Device::Cpu)
}

/// Compares the gradients of `sum(output * fixed weights)` with central differences in every coordinate of every argument.
///
/// The sum is taken in f64. With step 1e-2 the differences are off by 1e-4 of the third derivative and by 1e-5 through f32
/// rounding, so a gradient off by 2e-3 of the largest entry of its argument's gradient is an error.
pub(super) fn check_gradients(
    arguments: &[Tensor],
    operation: impl Fn(&[Tensor]) -> Result<Tensor>,
) -> Result<()> {
    let variables = arguments
        .iter()
        .map(Var::from_tensor)
        .collect::<Result<Vec<_>>>()?;
    let tensors: Vec<Tensor> = variables.iter().map(|v| v.as_tensor().clone()).collect();
    let output = operation(&tensors)?;
    let weights = sample(99, output.dims())?;
    let gradients = (&output * &weights)?.sum_all()?.backward()?;
    let weights = weights.flatten_all()?.to_vec1::<f32>()?;
    let objective = |arguments: &[Tensor]| -> Result<f64> {
        let output = operation(arguments)?.flatten_all()?.to_vec1::<f32>()?;
        Ok(output
            .iter()
            .zip(&weights)
            .map(|(o, w)| f64::from(*o) * f64::from(*w))
            .sum())
    };
    for (which, argument) in arguments.iter().enumerate() {
        let found = gradients
            .get(&tensors[which])
            .map(|g| g.flatten_all()?.to_vec1::<f32>())
            .transpose()?;
        let found = found.unwrap_or_else(|| panic!("argument {which} has no gradient"));
        let values = argument.flatten_all()?.to_vec1::<f32>()?;
        let mut expected = Vec::with_capacity(values.len());
        for i in 0..values.len() {
            let mut moved = arguments.to_vec();
            let mut at = |value: f32| {
                let mut values = values.clone();
                values[i] = value;
                moved[which] = Tensor::from_vec(values, argument.dims(), &Device::Cpu)?;
                objective(&moved)
            };
            let (up, down) = (values[i] + 1e-2, values[i] - 1e-2);
            expected.push((at(up)? - at(down)?) / f64::from(up - down));
        }
        let scale = expected.iter().fold(0.0_f64, |m, e| m.max(e.abs()));
        assert!(
            scale > 0.0,
            "argument {which} does not matter, so the check says nothing"
        );
        for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
            let error = (f64::from(*found) - expected).abs() / scale;
            assert!(
                error < 2e-3,
                "argument {which}, entry {i}: found {found}, differences give {expected} (scale {scale})"
            );
        }
    }
    Ok(())
}
