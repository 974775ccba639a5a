//! What the environment asks for: devices, faults to inject, how to execute. The variables are described in the
//! package's README.

use std::env;

use himuon_emulator::{DeviceConfig, ExecutionOptions, Order, Sums};

use crate::injection::{Injection, Target};

/// A variable that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SettingError {
    variable: &'static str,
    found: String,
    expected: &'static str,
}

impl std::fmt::Display for SettingError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            variable,
            found,
            expected,
        } = self;
        write!(
            f,
            "{variable}: `{found}` is not understood; expected {expected}"
        )
    }
}

/// When queued work is executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StreamPolicy {
    /// As late as the API allows: only when something waits for it.
    Lazy,
    /// At once, in the order of the calls.
    Eager,
}

/// Everything that the environment decides.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) devices: Vec<DeviceConfig>,
    pub(crate) injection: Injection,
    pub(crate) execution: ExecutionOptions,
    pub(crate) streams: StreamPolicy,
    /// Pitches of copies are multiples of this, in bytes; not 0.
    pub(crate) pitch_unit: u64,
    /// Major and minor version of the driver API.
    pub(crate) driver_version: (u32, u32),
}

/// The version of CUDA whose NVRTC the tests install.
const DRIVER_VERSION: (u32, u32) = (13, 5);

type Parsed<T> = Result<T, SettingError>;

impl Settings {
    pub(crate) fn from_environment() -> Parsed<Self> {
        Self::parse(|name| env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn parse(value_of: impl Fn(&str) -> Option<String>) -> Parsed<Self> {
        let setting = |name: &'static str| value_of(name).map(|found| Setting { name, found });
        let mut execution = ExecutionOptions::default();
        if let Some(order) = setting("HIMUON_EMULATOR_ORDER") {
            execution.order = order.order()?;
        }
        if let Some(threads) = setting("HIMUON_EMULATOR_THREADS") {
            execution.threads = threads.number("a number of threads, 0 for one per core")? as usize;
        }
        if let Some(checks) = setting("HIMUON_EMULATOR_CHECKS") {
            execution.checks = checks.choice("`on` or `off`", &[("on", true), ("off", false)])?;
        }
        if let Some(limit) = setting("HIMUON_EMULATOR_INSTRUCTION_LIMIT") {
            execution.max_instructions_per_block =
                limit.number("a number of warp instructions a block")?;
        }
        if let Some(sums) = setting("HIMUON_EMULATOR_SUMS") {
            let choices = [("exact", Sums::Exact), ("truncated", Sums::Truncated)];
            execution.sums = sums.choice("`exact` or `truncated`", &choices)?;
        }
        let policies = [("lazy", StreamPolicy::Lazy), ("eager", StreamPolicy::Eager)];
        Ok(Self {
            devices: match setting("HIMUON_EMULATOR_DEVICES") {
                Some(devices) => devices.devices()?,
                None => vec![DeviceConfig::sm_80()],
            },
            injection: match setting("HIMUON_EMULATOR_FAIL") {
                Some(faults) => faults.injection()?,
                None => Injection::default(),
            },
            execution,
            streams: match setting("HIMUON_EMULATOR_STREAMS") {
                Some(policy) => policy.choice("`lazy` or `eager`", &policies)?,
                None => StreamPolicy::Lazy,
            },
            pitch_unit: match setting("HIMUON_EMULATOR_PITCH") {
                Some(unit) => unit.number("a number of bytes, 1 for any pitch")?.max(1),
                None => 1,
            },
            driver_version: match setting("HIMUON_EMULATOR_DRIVER_VERSION") {
                Some(version) => version.version()?,
                None => DRIVER_VERSION,
            },
        })
    }
}

/// One variable with its value.
struct Setting {
    name: &'static str,
    found: String,
}

impl Setting {
    fn refuse(&self, found: &str, expected: &'static str) -> SettingError {
        SettingError {
            variable: self.name,
            found: found.to_owned(),
            expected,
        }
    }

    fn number(&self, expected: &'static str) -> Parsed<u64> {
        self.found
            .parse()
            .map_err(|_| self.refuse(&self.found, expected))
    }

    fn choice<T: Copy>(&self, expected: &'static str, choices: &[(&str, T)]) -> Parsed<T> {
        choices
            .iter()
            .find(|(word, _)| *word == self.found)
            .map(|(_, value)| *value)
            .ok_or_else(|| self.refuse(&self.found, expected))
    }

    fn order(&self) -> Parsed<Order> {
        let expected = "`lockstep` or `random:SEED`";
        if self.found == "lockstep" {
            return Ok(Order::Lockstep);
        }
        self.found
            .strip_prefix("random:")
            .and_then(|seed| seed.parse().ok())
            .map(Order::Random)
            .ok_or_else(|| self.refuse(&self.found, expected))
    }

    fn version(&self) -> Parsed<(u32, u32)> {
        self.found
            .split_once('.')
            .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)))
            .ok_or_else(|| self.refuse(&self.found, "a version such as `12.8`"))
    }

    /// `sm_80;sm_90,memory=64MiB,sms=4`: devices by semicolons, options by commas.
    fn devices(&self) -> Parsed<Vec<DeviceConfig>> {
        if self.found == "none" {
            return Ok(Vec::new());
        }
        self.found
            .split(';')
            .map(|device| self.device(device.trim()))
            .collect()
    }

    fn device(&self, text: &str) -> Parsed<DeviceConfig> {
        let mut options = text.split(',').map(str::trim);
        let architecture = options.next().unwrap_or_default();
        let mut config = capability(architecture)
            .and_then(|(major, minor)| DeviceConfig::for_capability(major, minor))
            .ok_or_else(|| {
                self.refuse(
                    architecture,
                    "one of sm_75, sm_80, sm_86, sm_89, sm_90, sm_100, sm_120",
                )
            })?;
        for option in options {
            self.device_option(&mut config, option)?;
        }
        Ok(config)
    }

    fn device_option(&self, config: &mut DeviceConfig, option: &str) -> Parsed<()> {
        let expected =
            "memory=BYTES, sms=COUNT, shared=BYTES or registers=COUNT, BYTES as in 64MiB";
        let refuse = || self.refuse(option, expected);
        let (key, value) = option.split_once('=').ok_or_else(refuse)?;
        let bytes = || byte_count(value).ok_or_else(refuse);
        let count = || value.parse::<u32>().map_err(|_| refuse());
        match key {
            "memory" => config.memory_bytes = bytes()?,
            "sms" => config.multiprocessors = count()?,
            "shared" => {
                let shared = u32::try_from(bytes()?).map_err(|_| refuse())?;
                config.shared_bytes_per_block_optin = shared;
                config.shared_bytes_per_block = config.shared_bytes_per_block.min(shared);
                config.shared_bytes_per_multiprocessor =
                    shared.saturating_add(config.reserved_shared_bytes_per_block);
            }
            "registers" => {
                config.registers_per_block = count()?;
                config.registers_per_multiprocessor = config.registers_per_block;
            }
            _ => return Err(refuse()),
        }
        Ok(())
    }

    /// `allocation:3,launch:1`: the n-th use of each kind fails, counted from 1.
    fn injection(&self) -> Parsed<Injection> {
        let expected = "KIND:N with KIND one of allocation, copy, launch, submission, module";
        let mut injection = Injection::default();
        for fault in self.found.split(',').map(str::trim) {
            let refuse = || self.refuse(fault, expected);
            let (kind, count) = fault.split_once(':').ok_or_else(refuse)?;
            let target = Target::named(kind).ok_or_else(refuse)?;
            let count = count
                .parse()
                .ok()
                .filter(|count| *count > 0)
                .ok_or_else(refuse)?;
            injection.add(target, count);
        }
        Ok(injection)
    }
}

/// (9, 0) of `sm_90` and `sm_90a`: a device of that capability runs both.
fn capability(architecture: &str) -> Option<(u32, u32)> {
    let digits = architecture
        .strip_prefix("sm_")?
        .trim_end_matches(['a', 'f']);
    let split = digits.len().checked_sub(1)?;
    Some((
        digits.get(..split)?.parse().ok()?,
        digits.get(split..)?.parse().ok()?,
    ))
}

/// 67108864 of `64MiB`.
fn byte_count(text: &str) -> Option<u64> {
    let units = [("KiB", 10), ("MiB", 20), ("GiB", 30)];
    for (unit, shift) in units {
        if let Some(number) = text.strip_suffix(unit) {
            return number.parse::<u64>().ok()?.checked_mul(1 << shift);
        }
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pairs: &[(&str, &str)]) -> Parsed<Settings> {
        Settings::parse(|name| {
            pairs
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn without_variables_there_is_one_sm_80() {
        let settings = parse(&[]).unwrap();
        assert_eq!(settings.devices, [DeviceConfig::sm_80()]);
        assert_eq!(settings.streams, StreamPolicy::Lazy);
        assert!(settings.execution.checks);
    }

    #[test]
    fn devices_are_listed_with_their_options() {
        let list = "sm_90a, memory=64MiB, sms=4; sm_120,shared=64KiB";
        let devices = parse(&[("HIMUON_EMULATOR_DEVICES", list)]).unwrap().devices;
        assert_eq!(devices.len(), 2);
        assert_eq!(devices[0].compute_capability, (9, 0));
        assert_eq!(devices[0].memory_bytes, 64 << 20);
        assert_eq!(devices[0].multiprocessors, 4);
        assert_eq!(devices[1].compute_capability, (12, 0));
        assert_eq!(devices[1].shared_bytes_per_block_optin, 64 << 10);
        assert!(
            parse(&[("HIMUON_EMULATOR_DEVICES", "none")])
                .unwrap()
                .devices
                .is_empty()
        );
    }

    #[test]
    fn execution_follows_the_variables() {
        let settings = parse(&[
            ("HIMUON_EMULATOR_ORDER", "random:7"),
            ("HIMUON_EMULATOR_THREADS", "1"),
            ("HIMUON_EMULATOR_CHECKS", "off"),
            ("HIMUON_EMULATOR_SUMS", "truncated"),
            ("HIMUON_EMULATOR_STREAMS", "eager"),
            ("HIMUON_EMULATOR_PITCH", "512"),
            ("HIMUON_EMULATOR_DRIVER_VERSION", "12.4"),
        ])
        .unwrap();
        assert_eq!(settings.execution.order, Order::Random(7));
        assert_eq!(settings.execution.threads, 1);
        assert!(!settings.execution.checks);
        assert_eq!(settings.execution.sums, Sums::Truncated);
        assert_eq!(settings.streams, StreamPolicy::Eager);
        assert_eq!(settings.pitch_unit, 512);
        assert_eq!(settings.driver_version, (12, 4));
    }

    #[test]
    fn what_cannot_be_understood_is_named() {
        let wrong = [
            ("HIMUON_EMULATOR_DEVICES", "sm_35", "`sm_35`"),
            (
                "HIMUON_EMULATOR_DEVICES",
                "sm_80,memory=lots",
                "`memory=lots`",
            ),
            ("HIMUON_EMULATOR_DEVICES", "sm_80,colour=3", "`colour=3`"),
            ("HIMUON_EMULATOR_FAIL", "launch", "`launch`"),
            ("HIMUON_EMULATOR_FAIL", "launch:0", "`launch:0`"),
            ("HIMUON_EMULATOR_FAIL", "lunch:1", "`lunch:1`"),
            ("HIMUON_EMULATOR_ORDER", "random", "`random`"),
            ("HIMUON_EMULATOR_CHECKS", "maybe", "`maybe`"),
            ("HIMUON_EMULATOR_SUMS", "rounded", "`rounded`"),
            ("HIMUON_EMULATOR_DRIVER_VERSION", "12", "`12`"),
        ];
        for (variable, value, named) in wrong {
            let message = parse(&[(variable, value)]).unwrap_err().to_string();
            assert!(
                message.starts_with(variable) && message.contains(named),
                "{message}"
            );
        }
    }
}
