//! The head of a generated text: its inputs, the command that remakes it, and how close the iteration comes.

use himuon_templates::{Architecture, Coarse, KernelSpec, SpecError, Variant};

/// Where the coefficients of powers above 0 are designed for.
const POWER_LOWER: f64 = 1e-2;
/// Where those of power 0 are compared.
const POLAR_LOWER: f64 = 1e-3;

/// The command that remakes a kernel's text.
pub(crate) fn command(spec: &KernelSpec, variant: &Variant, architecture: Architecture) -> String {
    format!("himuon emit --spec '{spec}' --variant '{variant}' --architecture {architecture}")
}

pub(super) fn banner(
    spec: &KernelSpec,
    variant: &Variant,
    architecture: Architecture,
) -> Result<String, SpecError> {
    let table = spec.step_table()?;
    let lower = if spec.power.numerator() == 0 {
        POLAR_LOWER
    } else {
        POWER_LOWER
    };
    let worst = table.worst_deviation(spec.power, lower);
    let coarse = match spec.coarse {
        Coarse::Off => "",
        Coarse::Polar { .. } => {
            "\n// coarse part    of whatever rank: its factors come from launches of their own, `himuon_couple_...`"
        }
    };
    Ok(format!(
        "// HiMuon kernel {version}, generated. Do not edit: remake it with\n\
         //   {command}\n\
         // specification  {spec}\n\
         // variant        {variant}\n\
         // architecture   {architecture}\n\
         // accuracy       |s_K / s^p - 1| <= {worst:.2e} for singular values s of X in [{lower:e}, 1], p = {power}; \
         {products} matrix products{coarse}",
        version = env!("CARGO_PKG_VERSION"),
        command = command(spec, variant, architecture),
        power = spec.power,
        products = table.products(),
    ))
}
