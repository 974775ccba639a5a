//! What the model says of variants, without running them.

use himuon_templates::{KernelSpec, Variant};

use crate::cuda::device::DeviceInfo;
use crate::cuda::kernel::Method;
use crate::cuda::model::device::Device as Card;
use crate::cuda::model::{Estimate, ranked};
use crate::plan::Prediction;

/// What the model says of every variant that the backend can launch, the fastest first.
pub(super) fn launchable(
    device: &DeviceInfo,
    spec: &KernelSpec,
    shapes: &[(usize, usize)],
) -> Vec<Estimate> {
    let Some(card) = Card::like(device) else {
        return Vec::new();
    };
    let mut estimates = ranked(spec, &card, shapes, &|_| None);
    estimates
        .retain(|estimate| Method::of(device, spec, Some(&estimate.variant.to_string())).is_ok());
    estimates
}

/// Digest of the text of a variant.
pub(in crate::cuda) fn digest(
    device: &DeviceInfo,
    spec: &KernelSpec,
    variant: &Variant,
) -> Option<String> {
    let rendered = himuon_codegen::render::render(spec, variant, device.architecture().ok()?);
    Some(format!("{:08x}", rendered.ok()?.id.digest()))
}

/// The variants that the model expects to be faster than the default, the best first.
pub(in crate::cuda) fn predicted(
    device: &DeviceInfo,
    spec: &KernelSpec,
    shapes: &[(usize, usize)],
) -> Vec<Prediction> {
    let Ok(default) = Method::of(device, spec, None) else {
        return Vec::new();
    };
    let estimates = launchable(device, spec, shapes);
    let of_default = estimates
        .iter()
        .find(|estimate| estimate.variant == default.variant);
    let Some(of_default) = of_default else {
        return Vec::new();
    };
    let faster = estimates
        .iter()
        .take_while(|estimate| estimate.seconds < of_default.seconds);
    faster
        .map(|estimate| Prediction {
            variant: estimate.variant.to_string(),
            speedup: of_default.seconds / estimate.seconds,
        })
        .collect()
}
