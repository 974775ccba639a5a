//! Finished runs, one file each, so that an experiment can be run in parts.

use crate::output::{self, say};
use crate::record::RunRecord;
use crate::session::Session;
use crate::settings::RunSettings;
use anyhow::{Context, Result};
use std::fs;
use std::path::PathBuf;

/// The folder of an experiment's runs.
pub(super) struct Store(pub(super) PathBuf);

impl Store {
    fn path(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.json"))
    }

    /// A finished run of these settings.
    ///
    /// # Errors
    /// The file is damaged, or belongs to other settings.
    pub(super) fn find(&self, name: &str, settings: &RunSettings) -> Result<Option<RunRecord>> {
        let path = self.path(name);
        if !path.exists() {
            return Ok(None);
        }
        let named = || format!("{}; remove it or take another --out", path.display());
        let record: RunRecord =
            serde_json::from_slice(&fs::read(&path).with_context(named)?).with_context(named)?;
        settings.check_same(&record.settings).with_context(named)?;
        Ok(Some(record))
    }

    /// The run of these settings: found, or run to its end and kept.
    pub(super) fn run(
        &self,
        session: &mut Session,
        name: &str,
        settings: RunSettings,
    ) -> Result<RunRecord> {
        if let Some(record) = self.find(name, &settings)? {
            return Ok(record);
        }
        let checkpoints = self.0.join(name);
        say!("{name}:");
        let record = session.run_in(settings, checkpoints.clone())?;
        output::write(&self.path(name), serde_json::to_vec_pretty(&record)?)?;
        fs::remove_dir_all(&checkpoints)
            .with_context(|| format!("{} cannot be removed", checkpoints.display()))?;
        Ok(record)
    }
}
