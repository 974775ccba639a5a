//! What a kernel is built for.

use std::fmt;
use std::str::FromStr;

use crate::ParseError;

/// An architecture class: text rendered for it compiles for every device of the class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Architecture {
    /// Compute capability 7.5: 16-bit tensor cores (f16), no asynchronous copies.
    Sm75,
    /// From 8.0: bf16 and tf32 tensor cores, asynchronous copies.
    Sm80,
    /// Exactly 9.0: whole matrices are stored to shared memory, of which a block may have 227 KiB.
    Sm90a,
}

/// What one block may use on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceLimits {
    /// Bytes of shared memory that a block may opt in to.
    pub shared_memory: u32,
    /// Threads of a block.
    pub threads: u32,
    /// 32-bit registers of a thread.
    pub registers: u32,
    /// Whether the tensor cores take bf16 and tf32 (from compute capability 8.0), not only f16.
    pub wide_tensor_cores: bool,
}

impl Architecture {
    /// Every class, oldest first: what the attribute renders.
    pub const ALL: [Architecture; 3] =
        [Architecture::Sm75, Architecture::Sm80, Architecture::Sm90a];

    /// The lowest compute capability, as 10 * major + minor.
    pub const fn number(self) -> u32 {
        match self {
            Architecture::Sm75 => 75,
            Architecture::Sm80 => 80,
            Architecture::Sm90a => 90,
        }
    }

    /// The name that compilers take, without prefix: `75`, `80` or `90a` (as in `compute_90a`).
    pub const fn name(self) -> &'static str {
        match self {
            Architecture::Sm75 => "75",
            Architecture::Sm80 => "80",
            Architecture::Sm90a => "90a",
        }
    }

    /// The class of a device of compute capability `major.minor`; `None` below 7.5.
    ///
    /// A device newer than 9.0 runs what was rendered for 8.0: instructions of 9.0a are not carried forward.
    pub const fn of_capability(major: u32, minor: u32) -> Option<Architecture> {
        match (major, minor) {
            (9, 0) => Some(Architecture::Sm90a),
            (8.., _) => Some(Architecture::Sm80),
            (7, 5..) => Some(Architecture::Sm75),
            _ => None,
        }
    }

    /// The smallest limits of any device of the class: what its defaults keep within.
    pub const fn limits(self) -> DeviceLimits {
        let shared_memory = match self {
            Architecture::Sm75 => 64 * 1024,
            // 8.6, 8.9 and 12.0 have 99 KiB, 8.0 has 163 KiB.
            Architecture::Sm80 => 99 * 1024,
            Architecture::Sm90a => 227 * 1024,
        };
        DeviceLimits {
            shared_memory,
            threads: 1024,
            registers: 255,
            wide_tensor_cores: !matches!(self, Architecture::Sm75),
        }
    }

    /// The largest limits of any device of the class: what a text may be made for, if it runs on those alone.
    pub const fn largest_limits(self) -> DeviceLimits {
        let shared_memory = match self {
            Architecture::Sm75 => 64 * 1024,
            // 8.0 has 163 KiB, 10.0 has 227 KiB.
            Architecture::Sm80 | Architecture::Sm90a => 227 * 1024,
        };
        DeviceLimits {
            shared_memory,
            ..self.limits()
        }
    }
}

impl fmt::Display for Architecture {
    /// `sm_80`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sm_{}", self.name())
    }
}

impl FromStr for Architecture {
    type Err = ParseError;

    /// Reads `sm_80` or `80`.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let name = text.strip_prefix("sm_").unwrap_or(text);
        Self::ALL
            .into_iter()
            .find(|architecture| architecture.name() == name)
            .ok_or_else(|| ParseError::Value {
                what: "architecture",
                found: text.to_owned(),
                accepted: "sm_75, sm_80 or sm_90a".to_owned(),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_of_devices() {
        let class = Architecture::of_capability;
        assert_eq!(class(7, 0), None);
        assert_eq!(class(7, 5), Some(Architecture::Sm75));
        for (major, minor) in [(8, 0), (8, 6), (8, 9), (10, 0), (12, 0)] {
            assert_eq!(class(major, minor), Some(Architecture::Sm80));
        }
        assert_eq!(class(9, 0), Some(Architecture::Sm90a));
    }

    #[test]
    fn a_class_holds_its_devices() {
        for architecture in Architecture::ALL {
            let [least, most] = [architecture.limits(), architecture.largest_limits()];
            assert!(least.shared_memory <= most.shared_memory);
            assert_eq!(
                DeviceLimits {
                    shared_memory: least.shared_memory,
                    ..most
                },
                least
            );
        }
    }

    #[test]
    fn names_read_back() {
        for architecture in Architecture::ALL {
            assert_eq!(architecture.to_string().parse(), Ok(architecture));
            assert_eq!(architecture.name().parse(), Ok(architecture));
        }
        assert!("sm_70".parse::<Architecture>().is_err());
    }
}
