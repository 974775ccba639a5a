//! Writers that meet, die, or find no room.

use crate::table::{class, device, entry, table};
use himuon::tuning::{TuningError, TuningTable};
use himuon::{KernelSpec, Tile};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Names the cache folder of a child process, in which a test below plays another part.
const FOLDER: &str = "HIMUON_TEST_TUNING_FOLDER";
/// Names the part.
const PART: &str = "HIMUON_TEST_TUNING_PART";

/// What the child process of a test does: writes tables with large entries until it is killed, or one.
#[test]
fn the_part_of_a_child() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else {
        return;
    };
    let part = std::env::var(PART).unwrap();
    if let Some(number) = part.strip_prefix("writer ") {
        let first: u32 = number.parse().unwrap();
        for edge in (first..first + 5).chain(1..6) {
            one(edge).save(&folder).unwrap();
        }
        return;
    }
    assert_eq!(part, "endless");
    for edge in (1..200).cycle() {
        one(edge).save(&folder).unwrap();
    }
}

fn one(edge: u32) -> TuningTable {
    let mut table = TuningTable::new(device());
    let mut entry = entry("winner");
    entry.candidates[0].cold_ns = (0..2000).map(|sample| 1000 + sample).collect();
    table.insert(&KernelSpec::new(Tile::square(edge)), class(), entry);
    table
}

fn child(folder: &Path, part: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kept::the_part_of_a_child"])
        .env(FOLDER, folder)
        .env(PART, part)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

fn load(folder: &Path) -> TuningTable {
    let table = TuningTable::load(folder, &device()).unwrap().unwrap();
    assert!(table.warnings().is_empty(), "{:?}", table.warnings());
    table
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder.join("tuning")).unwrap();
    let name = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.unwrap().file_name().into_string().unwrap()
    };
    let mut names: Vec<String> = entries.map(name).collect();
    names.sort();
    names
}

#[test]
fn eight_processes_at_once_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let writers: Vec<Child> = (0..8)
        .map(|writer| child(folder.path(), &format!("writer {}", 10 + 5 * writer)))
        .collect();
    for mut writer in writers {
        assert!(writer.wait().unwrap().success());
    }
    // Five of its own from each, and five that all of them wrote.
    assert_eq!(load(folder.path()).entries.len(), 8 * 5 + 5);
    assert_eq!(names(folder.path()).len(), 2, "{:?}", names(folder.path()));
}

#[test]
fn a_killed_writer_leaves_no_lock_and_no_torn_file() {
    let folder = tempfile::tempdir().unwrap();
    table("first").save(folder.path()).unwrap();
    let mut leavings = 0;
    for round in 0..12 {
        let mut writer = child(folder.path(), "endless");
        std::thread::sleep(Duration::from_millis(60 + 17 * round));
        writer.kill().unwrap();
        writer.wait().unwrap();
        assert!(!load(folder.path()).entries.is_empty());
        let partial = |name: &String| name.ends_with(".partial");
        // Whether the writer was killed inside a write is a matter of luck; once one was for sure.
        if round == 0 {
            let left = folder.path().join("tuning/left.partial");
            std::fs::write(left, "{\"entries\":").unwrap();
        }
        leavings += names(folder.path())
            .iter()
            .filter(|name| partial(name))
            .count();
        let start = Instant::now();
        table("first").save(folder.path()).unwrap();
        assert!(
            start.elapsed() < Duration::from_secs(5),
            "the lock was left behind"
        );
        // What the killed process was writing is swept away.
        assert!(!names(folder.path()).iter().any(partial));
    }
    assert!(leavings > 0);
    println!("{leavings} unfinished files were swept away");
}

/// What a writer without any rights says.
#[cfg(unix)]
fn as_nobody(folder: &Path) -> std::io::Result<String> {
    use std::os::unix::process::CommandExt;
    const NOBODY: u32 = 65_534;
    let output = Command::new(std::env::current_exe()?)
        .args(["--exact", "kept::the_part_of_a_child"])
        .env(FOLDER, folder)
        .env(PART, "writer 20")
        .uid(NOBODY)
        .gid(NOBODY)
        .output()?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
#[cfg(unix)]
fn a_read_only_folder_is_an_error_and_stays_as_it_is() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    table("first").save(folder.path()).unwrap();
    let tables = folder.path().join("tuning");
    let set = |mode| {
        std::fs::set_permissions(&tables, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    set(0o555);
    let writable = std::fs::write(tables.join("probe"), "").is_ok();
    if writable {
        // Root may write everything: somebody else is asked to.
        std::fs::remove_file(tables.join("probe")).unwrap();
        let everybody = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(folder.path(), everybody).unwrap();
        match as_nobody(folder.path()) {
            Ok(said) => assert!(said.contains("PermissionDenied"), "{said}"),
            Err(error) => println!("SKIPPED in part: no process of another user: {error}"),
        }
    } else {
        let error = table("second").save(folder.path()).unwrap_err();
        assert!(matches!(error, TuningError::Io { .. }), "{error}");
        assert!(table("second").check_savable(folder.path()).is_err());
    }
    set(0o755);
    assert_eq!(load(folder.path()), table("first"));
    // A folder that cannot be one refuses everybody.
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = table("first").save(&file).unwrap_err();
    assert!(error.to_string().contains("HIMUON_CACHE_DIR"), "{error}");
}

/// Runs the shell script with a writer as `$0`; true if the shell could set the scene.
#[cfg(target_os = "linux")]
fn in_shell(folder: &Path, script: &str) -> (bool, String) {
    let output = Command::new("sh")
        .arg("-c")
        .arg(script)
        .arg(std::env::current_exe().unwrap())
        .env(FOLDER, folder)
        .env(PART, "writer 20")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned()
        + &String::from_utf8_lossy(&output.stdout);
    (output.status.success(), text)
}

const WRITER: &str = "\"$0\" --exact kept::the_part_of_a_child";

#[test]
#[cfg(target_os = "linux")]
fn a_file_that_may_not_grow_leaves_the_old_one() {
    let folder = tempfile::tempdir().unwrap();
    table("first").save(folder.path()).unwrap();
    // Blocks of 512 bytes; a write beyond fails instead of ending the process.
    let script = format!("trap '' XFSZ; ulimit -f 8; {WRITER}");
    let (done, said) = in_shell(folder.path(), &script);
    assert!(!done && said.contains("File too large"), "{said}");
    assert_eq!(load(folder.path()), table("first"));
    assert_eq!(names(folder.path()).len(), 2, "{:?}", names(folder.path()));
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_leaves_the_old_file() {
    let folder = tempfile::tempdir().unwrap();
    table("first").save(folder.path()).unwrap();
    // A file system of its own, seen by this shell alone, with room for the first table and little more.
    let setup = "mount -t tmpfs -o size=16k tmpfs \"$HIMUON_TEST_TUNING_FOLDER\"";
    let mounts = format!("unshare -m sh -c '{setup}' || unshare -rm sh -c '{setup}'");
    let (allowed, said) = in_shell(folder.path(), &mounts);
    if !allowed {
        println!("SKIPPED: no file system may be mounted here: {said}");
        return;
    }
    let flags = match in_shell(folder.path(), &format!("unshare -m sh -c '{setup}'")).0 {
        true => "-m",
        false => "-rm",
    };
    let script = format!(
        "cp -r \"$HIMUON_TEST_TUNING_FOLDER/tuning\" \"$HIMUON_TEST_TUNING_FOLDER.copy\"; exec unshare {flags} sh -c '\
         {setup}; cp -r \"$HIMUON_TEST_TUNING_FOLDER.copy\" \"$HIMUON_TEST_TUNING_FOLDER/tuning\"; \
         before=$(cat \"$HIMUON_TEST_TUNING_FOLDER\"/tuning/*.json); \
         {WRITER}; status=$?; \
         after=$(cat \"$HIMUON_TEST_TUNING_FOLDER\"/tuning/*.json); \
         [ \"$before\" = \"$after\" ] && echo UNTOUCHED; \
         ls -A \"$HIMUON_TEST_TUNING_FOLDER/tuning\"; exit $status' \"$0\""
    );
    let (done, said) = in_shell(folder.path(), &script);
    std::fs::remove_dir_all(folder.path().with_extension("copy")).unwrap();
    assert!(!done && said.contains("No space left"), "{said}");
    assert!(
        said.contains("UNTOUCHED") && !said.contains(".partial"),
        "{said}"
    );
}
