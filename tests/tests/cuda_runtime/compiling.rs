//! Which kernels are compiled, when, and by whom.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use himuon::Tile;
use himuon::schedule::TileSchedule;

use crate::emulator::{MODEL_CHOOSES, emulated};
use crate::model::{Model, OnDevice, tile};

/// The cache of the child.
fn modules() -> PathBuf {
    Path::new(&std::env::var_os("HIMUON_CACHE_DIR").unwrap()).join("modules")
}

/// The kernels that were compiled, and the files of each that hold what was made.
fn compiled() -> BTreeSet<(String, Vec<String>)> {
    let names = |folder: &Path| {
        let entries = fs::read_dir(folder).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect::<BTreeSet<_>>()
    };
    let made = |id: &String| {
        let files = names(&modules().join(id)).into_iter();
        files.filter(|name| name.contains("-nvrtc")).collect()
    };
    let kernels = names(&modules());
    kernels.iter().map(|id| (id.clone(), made(id))).collect()
}

/// Two tiles and AdamW, whether the variants are the default ones or those that the model puts first.
#[test]
fn what_a_schedule_launches_is_compiled_at_the_first_step_and_nothing_else() {
    let test = "compiling::what_a_schedule_launches_is_compiled_at_the_first_step_and_nothing_else";
    let [default, chosen] = [("HIMUON_DETERMINISTIC", "1"), MODEL_CHOOSES].map(|choice| {
        let cache = tempfile::tempdir().unwrap();
        let folder = ("HIMUON_CACHE_DIR", cache.path().to_str().unwrap());
        let printed = emulated(test, &[folder, choice], || {
            let model = Model::mixed();
            let mut device = OnDevice::new(&model);
            let schedule = [(0, Tile::square(16)), (2, Tile::square(32))];
            let schedule = TileSchedule::list(schedule).unwrap();
            let builder = model.builder(&[tile(16), tile(32)]).schedule(schedule);
            let mut optimizer = device.optimizer(builder);
            device.step(&mut optimizer);
            let at_first = compiled();
            assert_eq!(at_first.len(), 3, "{at_first:?}");
            assert!(at_first.iter().all(|(_, made)| made.len() == 1));
            for _ in 0..3 {
                device.step(&mut optimizer);
            }
            assert_eq!(compiled(), at_first);
            println!("compiled: {at_first:?}");
        });
        let line = printed.lines().find(|line| line.contains("compiled: "));
        line.map(str::to_owned)
    });
    let child = std::env::var_os("HIMUON_ISOLATED_TEST").is_some();
    assert!(child || (default.is_some() && default != chosen));
}

/// Whoever finds that a kernel is being compiled waits, and takes what was made.
#[test]
fn processes_that_start_together_compile_a_kernel_once() {
    let test = "compiling::processes_that_start_together_compile_a_kernel_once";
    let cache = tempfile::tempdir().unwrap();
    let folder = ("HIMUON_CACHE_DIR", cache.path().to_str().unwrap());
    emulated(test, &[folder], || {
        let model = Model::new(&[("blocks.0.q.weight", &[20, 20])], 1);
        let step = || {
            let mut device = OnDevice::new(&model);
            let mut optimizer = device.optimizer(model.builder(&[tile(16)]));
            device.step(&mut optimizer);
        };
        step();
        let (id, made) = compiled()
            .into_iter()
            .find(|(id, _)| !id.starts_with("companion"))
            .unwrap();
        let kernel = modules().join(id);
        let (file, aside) = (kernel.join(&made[0]), modules().join("aside"));
        fs::rename(&file, &aside).unwrap();
        let (what, _) = made[0].split_once("-nvrtc").unwrap();
        let lock = File::open(kernel.join(format!("{what}.lock"))).unwrap();
        lock.lock().unwrap();
        thread::scope(|scope| {
            let second = scope.spawn(step);
            thread::sleep(Duration::from_millis(300));
            assert!(!second.is_finished(), "it waits");
            fs::rename(&aside, &file).unwrap();
            let inode = fs::metadata(&file).unwrap().ino();
            lock.unlock().unwrap();
            second.join().unwrap();
            assert_eq!(fs::metadata(&file).unwrap().ino(), inode, "written anew");
        });
    });
}
