//! Saving a run and going on from it.
//!
//! A checkpoint is a folder `step-000050` with three files: the weights and the optimizer's state in safetensors, and the
//! record of the run. It is written under another name and renamed when complete, so that a run killed at any moment
//! leaves whole checkpoints only. Batches depend on the seed and the step, so there is no other position to save.

use crate::record::RunRecord;
use crate::settings::{OptimizerKind, RunSettings};
use crate::trainer::Trainer;
use anyhow::{Context, Result, bail, ensure};
use himuon::tuning::TuningTable;
use std::fs;
use std::path::{Path, PathBuf};

const WEIGHTS: &str = "weights.safetensors";
const OPTIMIZER: &str = "optimizer.safetensors";
const RECORD: &str = "record.json";
const PREFIX: &str = "step-";
/// Ends the name of a checkpoint that is not complete.
const PARTIAL: &str = ".partial";

/// The folder of one run's checkpoints.
pub(crate) fn run_folder(root: &Path, optimizer: OptimizerKind, seed: u64) -> PathBuf {
    root.join(format!("{}-seed-{seed}", optimizer.key()))
}

/// Refuses a folder that holds checkpoints for a run from the start, whose first checkpoint would take their place.
pub(crate) fn refuse_kept(root: &Path, optimizer: OptimizerKind, seed: u64) -> Result<()> {
    let kept = latest(&run_folder(root, optimizer, seed))?;
    match kept {
        None => Ok(()),
        Some(kept) => bail!(
            "--checkpoint would start anew and remove {}: go on from it with --resume {}, or name another folder",
            kept.display(),
            root.display()
        ),
    }
}

/// Saves the run into `folder` and removes its older checkpoints.
pub(crate) fn save(folder: &Path, trainer: &mut Trainer) -> Result<PathBuf> {
    let complete = folder.join(format!("{PREFIX}{:06}", trainer.step_number()));
    let partial = with_suffix(&complete, PARTIAL);
    write(&partial, trainer)
        .with_context(|| format!("the checkpoint {} cannot be written", partial.display()))?;
    if complete.exists() {
        fs::remove_dir_all(&complete)?;
    }
    fs::rename(&partial, &complete)
        .with_context(|| format!("{} cannot be renamed", partial.display()))?;
    for (older, _) in complete_checkpoints(folder)?
        .into_iter()
        .filter(|(path, _)| *path != complete)
    {
        fs::remove_dir_all(&older)
            .with_context(|| format!("{} cannot be removed", older.display()))?;
    }
    Ok(complete)
}

fn write(partial: &Path, trainer: &mut Trainer) -> Result<()> {
    if partial.exists() {
        fs::remove_dir_all(partial)?;
    }
    fs::create_dir_all(partial)?;
    trainer.variables.save(partial.join(WEIGHTS))?;
    trainer
        .optimizer
        .inner_mut()
        .save_state(partial.join(OPTIMIZER))?;
    fs::write(
        partial.join(RECORD),
        serde_json::to_vec_pretty(&trainer.record)?,
    )?;
    for file in [WEIGHTS, OPTIMIZER, RECORD] {
        fs::File::open(partial.join(file))?.sync_all()?;
    }
    Ok(())
}

/// The newest checkpoint of a run, if there is one.
pub(crate) fn latest(folder: &Path) -> Result<Option<PathBuf>> {
    Ok(complete_checkpoints(folder)?
        .into_iter()
        .max_by_key(|(_, step)| *step)
        .map(|(path, _)| path))
}

/// Goes on from a checkpoint, which must have been saved under the same settings.
pub(crate) fn resume(
    checkpoint: &Path,
    settings: RunSettings,
    tuning: &TuningTable,
) -> Result<Trainer> {
    let named = || format!("the checkpoint {}", checkpoint.display());
    let record = fs::read(checkpoint.join(RECORD)).with_context(named)?;
    let record: RunRecord = serde_json::from_slice(&record).with_context(named)?;
    settings.check_same(&record.settings).with_context(named)?;
    let mut trainer = Trainer::new(settings, tuning)?;
    trainer
        .variables
        .load(checkpoint.join(WEIGHTS))
        .with_context(named)?;
    let loaded = trainer
        .optimizer
        .inner_mut()
        .load_state(checkpoint.join(OPTIMIZER))
        .with_context(named)?;
    ensure!(
        loaded.step == record.losses.len() as u64,
        "{}: the optimizer has taken {} steps, the record names {}; remove this checkpoint",
        named(),
        loaded.step,
        record.losses.len()
    );
    ensure!(
        loaded.differences.is_empty(),
        "{}: the run would go on with other bits: {}; train anew",
        named(),
        loaded.differences.join("; ")
    );
    trainer.record = record;
    Ok(trainer)
}

/// Complete checkpoints with their steps. Other names, partial ones among them, are left alone.
fn complete_checkpoints(folder: &Path) -> Result<Vec<(PathBuf, u64)>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for entry in
        fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))?
    {
        let path = entry?.path();
        let step = path
            .file_name()
            .and_then(|name| name.to_str()?.strip_prefix(PREFIX)?.parse().ok());
        found.extend(step.map(|step| (path, step)));
    }
    Ok(found)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corpus::Corpus;
    use crate::settings::tests::small_settings;
    use himuon::tuning::DeviceFingerprint;

    fn corpus() -> Corpus {
        let text = include_str!("checkpoint.rs").repeat(4);
        Corpus::of_text("its own source".into(), text.as_bytes()).unwrap()
    }

    fn untuned() -> TuningTable {
        TuningTable::new(DeviceFingerprint::cpu())
    }

    fn fresh(settings: &RunSettings) -> Trainer {
        Trainer::new(settings.clone(), &untuned()).unwrap()
    }

    fn weight_bits(trainer: &Trainer) -> Vec<(String, Vec<u32>)> {
        let variables = trainer.variables.data().lock().unwrap();
        let mut bits: Vec<_> = variables
            .iter()
            .map(|(name, variable)| {
                let values = variable.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                (
                    name.clone(),
                    values.iter().map(|value| value.to_bits()).collect(),
                )
            })
            .collect();
        bits.sort();
        bits
    }

    fn train_to(trainer: &mut Trainer, step: u64, corpus: &Corpus) {
        while trainer.step_number() < step {
            trainer.step(corpus).unwrap();
        }
    }

    /// Kills the run at every step: saves, drops everything, resumes, and compares with the run that was not killed.
    #[test]
    fn a_resumed_run_has_the_bits_of_one_that_was_not_killed() {
        let corpus = corpus();
        for optimizer in OptimizerKind::ALL {
            let settings = small_settings(optimizer);
            let mut whole = fresh(&settings);
            train_to(&mut whole, settings.steps, &corpus);
            let expected = weight_bits(&whole);
            for killed_at in 0..=settings.steps {
                let folder = tempfile::tempdir().unwrap();
                let mut first = fresh(&settings);
                train_to(&mut first, killed_at, &corpus);
                save(folder.path(), &mut first).unwrap();
                drop(first);
                let checkpoint = latest(folder.path()).unwrap().unwrap();
                let mut second = resume(&checkpoint, settings.clone(), &untuned()).unwrap();
                assert_eq!(second.step_number(), killed_at);
                train_to(&mut second, settings.steps, &corpus);
                assert_eq!(
                    weight_bits(&second),
                    expected,
                    "{optimizer}, killed at {killed_at}"
                );
                assert_eq!(second.record.losses, whole.record.losses);
            }
        }
    }

    #[test]
    fn a_schedule_goes_on_where_it_was() {
        let corpus = corpus();
        let mut settings = small_settings(OptimizerKind::HiMuon);
        settings.schedule = Some("16+full/3*0.5".into());
        let mut whole = fresh(&settings);
        train_to(&mut whole, settings.steps, &corpus);
        let folder = tempfile::tempdir().unwrap();
        let mut first = fresh(&settings);
        train_to(&mut first, 4, &corpus);
        let checkpoint = save(folder.path(), &mut first).unwrap();
        let mut second = resume(&checkpoint, settings.clone(), &untuned()).unwrap();
        train_to(&mut second, settings.steps, &corpus);
        assert_eq!(weight_bits(&second), weight_bits(&whole));
    }

    #[test]
    fn partial_checkpoints_are_passed_over_and_old_ones_removed() {
        let corpus = corpus();
        let folder = tempfile::tempdir().unwrap();
        let mut trainer = fresh(&small_settings(OptimizerKind::AdamW));
        assert_eq!(latest(folder.path()).unwrap(), None);
        for step in 1..=2 {
            train_to(&mut trainer, step, &corpus);
            save(folder.path(), &mut trainer).unwrap();
        }
        fs::create_dir(folder.path().join("step-000009.partial")).unwrap();
        let names = complete_checkpoints(folder.path()).unwrap();
        assert_eq!(names, [(folder.path().join("step-000002"), 2)]);
    }

    #[test]
    fn a_run_from_the_start_takes_no_checkpoint_away() {
        let root = tempfile::tempdir().unwrap();
        let settings = small_settings(OptimizerKind::AdamW);
        let refuse = |optimizer, seed| refuse_kept(root.path(), optimizer, seed);
        assert!(refuse(settings.optimizer, settings.seed).is_ok());
        let mut trainer = fresh(&settings);
        train_to(&mut trainer, 1, &corpus());
        let folder = run_folder(root.path(), settings.optimizer, settings.seed);
        let kept = save(&folder, &mut trainer).unwrap();
        let refused = refuse(settings.optimizer, settings.seed).unwrap_err();
        let text = refused.to_string();
        assert!(
            text.contains(kept.to_str().unwrap()) && text.contains("--resume"),
            "{text}"
        );
        assert!(refuse(settings.optimizer, settings.seed + 1).is_ok());
        assert!(refuse(OptimizerKind::HiMuon, settings.seed).is_ok());
    }

    #[test]
    fn another_run_and_damaged_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let settings = small_settings(OptimizerKind::HiMuon);
        let mut trainer = fresh(&settings);
        train_to(&mut trainer, 1, &corpus());
        let checkpoint = save(folder.path(), &mut trainer).unwrap();
        let message = |settings| {
            resume(&checkpoint, settings, &untuned())
                .err()
                .map(|e| format!("{e:#}"))
                .unwrap_or_default()
        };
        let other = message(RunSettings {
            seed: 9,
            ..settings.clone()
        });
        assert!(other.contains("seed is 9, saved with 3"), "{other}");
        let state = checkpoint.join(OPTIMIZER);
        let bytes = fs::read(&state).unwrap();
        fs::write(&state, &bytes[..bytes.len() / 2]).unwrap();
        assert!(!message(settings.clone()).is_empty());
        fs::write(checkpoint.join(RECORD), b"{").unwrap();
        assert!(message(settings).contains("the checkpoint"));
    }
}
