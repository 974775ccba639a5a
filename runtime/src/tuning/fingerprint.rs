//! Which device a table belongs to.

use super::table::DeviceFingerprint;

impl DeviceFingerprint {
    /// This machine's processor: its name where the system tells it, its architecture, and the vector
    /// extensions that kernels choose by.
    pub fn cpu() -> Self {
        DeviceFingerprint {
            kind: "cpu".to_owned(),
            name: processor_name().unwrap_or_else(|| "unknown".to_owned()),
            architecture: std::env::consts::ARCH.to_owned(),
            features: vector_extensions(),
        }
    }
}

/// The processor's name as Linux tells it.
fn processor_name() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    let name = line.split_once(':')?.1;
    Some(name.split_whitespace().collect::<Vec<_>>().join(" "))
}

#[cfg(target_arch = "x86_64")]
fn vector_extensions() -> Vec<String> {
    let found = [
        ("avx2", is_x86_feature_detected!("avx2")),
        ("fma", is_x86_feature_detected!("fma")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
    ];
    let present = found.into_iter().filter(|(_, present)| *present);
    present.map(|(name, _)| name.to_owned()).collect()
}

#[cfg(not(target_arch = "x86_64"))]
fn vector_extensions() -> Vec<String> {
    Vec::new()
}
