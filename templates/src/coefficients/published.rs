//! Published Newton-Schulz coefficients, as printed by their authors.

/// Keller Jordan's Muon, the same at every step.
pub(super) const MUON: [f64; 3] = [3.4445, -4.7750, 2.0315];

/// The classical cubic step: 1 - s_K contracts quadratically, no overshoot.
pub(super) const CUBIC: [f64; 3] = [1.5, -0.5, 0.0];

/// The classical quintic step: 1 - s_K contracts cubically, no overshoot.
pub(super) const QUINTIC: [f64; 3] = [1.875, -1.25, 0.375];

/// Polar Express (arXiv 2505.16932), built for singular values in [1e-3, 1]; [`QUINTIC`] follows.
pub(super) const POLAR_EXPRESS: [[f64; 3]; 7] = [
    [8.28721201814563, -23.595886519098837, 17.300387312530933],
    [4.107059111542203, -2.9478499167379106, 0.5448431082926601],
    [3.9486908534822946, -2.908902115962949, 0.5518191394370137],
    [3.3184196573706015, -2.488488024314874, 0.51004894012372],
    [2.300652019954817, -1.6689039845747493, 0.4188073119525673],
    [1.891301407787398, -1.2679958271945868, 0.37680408948524835],
    [1.8750014808534479, -1.2500016453999487, 0.3750001645474248],
];

/// The published safety factor of Polar Express: each step of [`POLAR_EXPRESS`] acts on x / 1.01,
/// so that a singular value that rounding has pushed past 1 stays inside the design interval.
const POLAR_EXPRESS_SAFETY: f64 = 1.01;

/// YouJiacheng's five steps.
pub(super) const YOU: [[f64; 3]; 5] = [
    [4.0848, -6.8946, 2.9270],
    [3.9505, -6.3029, 2.6377],
    [3.7418, -5.5913, 2.3037],
    [2.8769, -3.1427, 1.2046],
    [2.8366, -3.0525, 1.2012],
];

/// Turbo-Muon (arXiv 2512.04632): four steps after the almost-orthogonal rescale.
pub(super) const TURBO: [[f64; 3]; 4] = [
    [4.6051, -9.6552, 5.6769],
    [4.7505, -6.0861, 2.1790],
    [2.7763, -2.3190, 0.5523],
    [2.4231, -2.2861, 0.8193],
];

/// CANS: cubic steps by Chebyshev approximation; [`CUBIC`] follows.
pub(super) const CANS: [[f64; 2]; 9] = [
    [5.182503604966906, -5.178098480082684],
    [2.586120737395915, -0.6479542005271643],
    [2.567364126726186, -0.6454968804392178],
    [2.520560084348265, -0.6393528082067044],
    [2.410759275435182, -0.6248683598710716],
    [2.1883348130094173, -0.5952022073798908],
    [1.8595760874873613, -0.5504490972723968],
    [1.589020160467417, -0.5126569802066718],
    [1.5051653981684994, -0.5007377068751799],
];

/// The first `steps` of Polar Express with the safety division.
pub(super) fn polar_express(steps: usize) -> Vec<[f64; 3]> {
    let s = POLAR_EXPRESS_SAFETY;
    let divided = |[a, b, c]: [f64; 3]| [a / s, b / s.powi(3), c / s.powi(5)];
    let listed = POLAR_EXPRESS.into_iter().map(divided);
    listed
        .chain(std::iter::repeat(QUINTIC))
        .take(steps)
        .collect()
}

/// The first `steps` of CANS.
pub(super) fn cans(steps: usize) -> Vec<[f64; 3]> {
    let listed = CANS.into_iter().map(|[a, b]| [a, b, 0.0]);
    listed.chain(std::iter::repeat(CUBIC)).take(steps).collect()
}
