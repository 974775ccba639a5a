//! Which device a table belongs to.

use serde::{Deserialize, Serialize};

/// The device that a table was measured on, and what else its times depend on.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DeviceFingerprint {
    /// `cpu` or `cuda`.
    pub kind: String,
    /// The device's own name.
    pub name: String,
    /// Instruction set or compute capability, as `x86_64` or `9.0`.
    pub architecture: String,
    /// Multiprocessors of a GPU, logical processors of a CPU; 0: unknown.
    #[serde(default)]
    pub multiprocessors: u32,
    /// Version of the driver; empty for a CPU.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub driver: String,
    /// Version of the compiler that makes the kernels.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub toolkit: String,
    /// What else kernels choose by: vector extensions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<String>,
}

impl DeviceFingerprint {
    /// This machine's processor: its name where the system tells it, its architecture, its logical processors,
    /// and the vector extensions that kernels choose by.
    pub fn cpu() -> Self {
        let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        DeviceFingerprint {
            kind: "cpu".to_owned(),
            name: processor_name(&text).unwrap_or_else(|| "unknown".to_owned()),
            architecture: std::env::consts::ARCH.to_owned(),
            // Not `available_parallelism`: an affinity mask does not make another machine.
            multiprocessors: field(&text, "processor").count() as u32,
            driver: String::new(),
            toolkit: String::new(),
            features: vector_extensions(),
        }
    }

    /// What to type to tune a specification on this device.
    pub(super) fn tune_command(&self, spec: &himuon_templates::KernelSpec) -> String {
        match self.kind.as_str() {
            "cuda" => format!("himuon tune --device cuda --spec '{spec}'"),
            _ => format!("himuon tune --spec '{spec}'"),
        }
    }

    /// A name for people and files: device and architecture in words, the rest in a digest.
    pub fn slug(&self) -> String {
        let words = [self.kind.as_str(), &self.name, &self.architecture];
        let mut slug: String = words
            .join("-")
            .to_lowercase()
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
            .collect();
        while slug.contains("--") {
            slug = slug.replace("--", "-");
        }
        let rest = format!(
            "{}|{}|{}|{}",
            self.multiprocessors,
            self.driver,
            self.toolkit,
            self.features.join(",")
        );
        let digest = xxhash_rust::xxh3::xxh3_64(rest.as_bytes()) as u32;
        format!("{}-{digest:08x}", slug.trim_matches('-'))
    }
}

/// The values of a field of `/proc/cpuinfo`, one for each logical processor.
fn field<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .filter(move |(key, _)| key.trim() == name)
        .map(|(_, value)| value)
}

/// The processor's name as Linux tells it.
fn processor_name(text: &str) -> Option<String> {
    let name = field(text, "model name").next()?;
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
