//! What the environment says about tuning.

use super::error::TuningError;
use super::level::Level;

/// Set, and neither empty nor `0`.
fn is_on(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| !value.is_empty() && value != "0")
}

/// HIMUON_CACHE_READONLY: tables are read and never written.
pub fn read_only() -> bool {
    is_on("HIMUON_CACHE_READONLY")
}

/// HIMUON_DETERMINISTIC: no table is read and no model asked, so that every process uses the default variants.
pub fn deterministic() -> bool {
    is_on("HIMUON_DETERMINISTIC")
}

/// HIMUON_AUTOTUNE: what an optimizer does about specifications without an entry when it is built. Unset, empty,
/// `0` or `off`: nothing is run, and the model's choice is used where it lies far ahead of the default; `estimate`:
/// the model's choice is used however small its lead.
///
/// # Errors
/// Another word than these and the names of [`Level`].
pub(super) fn autotune() -> Result<Option<Level>, TuningError> {
    match std::env::var("HIMUON_AUTOTUNE").as_deref() {
        Err(_) | Ok("" | "0" | "off") => Ok(None),
        Ok(word) => word.parse().map(Some).map_err(|_| TuningError::Word {
            what: "HIMUON_AUTOTUNE",
            found: word.to_owned(),
            accepted: "off, estimate, measure or patient",
        }),
    }
}

/// This process's number among the processes of its job, as its launcher says; `None` where no launcher says any, or that there is
/// one process alone.
pub fn rank() -> Option<usize> {
    let number = |name: &str| std::env::var(name).ok()?.parse::<usize>().ok();
    let processes = [
        "WORLD_SIZE",
        "OMPI_COMM_WORLD_SIZE",
        "PMI_SIZE",
        "SLURM_NTASKS",
    ];
    if processes.into_iter().find_map(number) == Some(1) {
        return None;
    }
    ["RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "SLURM_PROCID"]
        .into_iter()
        .find_map(number)
}
