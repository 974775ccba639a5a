//! Whether what is to be measured fits into memory.

/// Refuses a measurement of `elements` numbers of which each takes so many bytes where the system says that it has less:
/// asked for all the same, it would end this process or another one. Where the system says nothing nothing is refused.
///
/// # Errors
/// Both numbers, and what to do.
pub fn check_room(elements: usize, bytes_each: usize) -> Result<(), String> {
    let needed = (elements as u64).saturating_mul(bytes_each as u64);
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    match available(&meminfo) {
        Some(available) if needed > available => Err(format!(
            "to measure {elements} elements takes {} MiB of memory, and {} MiB are available: name smaller matrices",
            needed >> 20,
            available >> 20
        )),
        _ => Ok(()),
    }
}

/// The bytes that Linux has for programs, from the text of its `/proc/meminfo`.
fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1 << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_is_read() {
        let text = "MemTotal:       24620592 kB\nMemFree:          538924 kB\nMemAvailable:    5612345 kB\n";
        assert_eq!(available(text), Some(5_612_345 << 10));
        for none in [
            "",
            "MemTotal: 3 kB",
            "MemAvailable: many kB",
            "MemAvailable: 3",
        ] {
            assert_eq!(available(none), None, "{none}");
        }
    }
}
