//! Files that are whole or absent, whatever happens while they are written: the one writer of the project.

use std::fs::{self, File};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use tempfile::{Builder, NamedTempFile};

/// Symbolic links that are followed from one to the next, as many as Linux follows.
const MOST_LINKS: usize = 40;

/// Writes a file beside its place, flushes it to the device, and renames it into place. Whoever reads `path` sees the
/// old content or the new one, never a part.
///
/// The file keeps the permissions of the one that it replaces, else it has those of any new file. Of a symbolic link
/// the file that it names is written, and the link stays. What is no file, as a pipe or `/dev/null`, is written as it is.
///
/// # Errors
/// The system's; the old file is untouched. Where only the last step fails, which makes sure that the new name outlives a loss of
/// power, the new file stands.
pub fn write(
    path: &Path,
    fill: impl FnOnce(&mut BufWriter<&mut File>) -> io::Result<()>,
) -> io::Result<()> {
    if is_no_file(path) {
        return into(&mut File::options().write(true).open(path)?, fill);
    }
    let path = destination(path)?;
    let mut temporary = beside(&path)?;
    into(temporary.as_file_mut(), fill)?;
    temporary.as_file().sync_all()?;
    temporary.persist(&path).map_err(|error| error.error)?;
    sync_folder(folder_of(&path))
}

/// As [`write()`], by something that writes a file of a given name.
///
/// # Errors
/// As [`write()`].
pub fn write_named(path: &Path, fill: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    if is_no_file(path) {
        let temporary = NamedTempFile::new()?.into_temp_path();
        fill(&temporary)?;
        let mut device = File::options().write(true).open(path)?;
        return io::copy(&mut File::open(&temporary)?, &mut device).map(drop);
    }
    let path = destination(path)?;
    let temporary = beside(&path)?;
    let permissions = temporary.as_file().metadata()?.permissions();
    let temporary = temporary.into_temp_path();
    fill(&temporary)?;
    // Another file may stand under the name by now.
    fs::set_permissions(&temporary, permissions)?;
    File::open(&temporary)?.sync_all()?;
    temporary.persist(&path).map_err(|error| error.error)?;
    sync_folder(folder_of(&path))
}

/// Waits for the lock of a file and takes it. Unlike `File::lock` alone it goes on waiting where a signal interrupts it.
///
/// # Errors
/// The system's: where the file lies there may be no locks.
pub fn lock(file: &File) -> io::Result<()> {
    loop {
        match file.lock() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            ended => return ended,
        }
    }
}

/// Whether two paths lead to one file. A file that is still to be written is the one of its name in its folder.
pub fn same(a: &Path, b: &Path) -> bool {
    let place = |path: &Path| {
        let path = destination(path).unwrap_or_else(|_| path.to_owned());
        path.canonicalize().or_else(|error| {
            let folder = folder_of(&path).canonicalize()?;
            path.file_name().map(|name| folder.join(name)).ok_or(error)
        })
    };
    match (place(a), place(b)) {
        (Ok(a), Ok(b)) => a == b,
        _ => a == b,
    }
}

fn into(
    file: &mut File,
    fill: impl FnOnce(&mut BufWriter<&mut File>) -> io::Result<()>,
) -> io::Result<()> {
    let mut writer = BufWriter::with_capacity(1 << 20, file);
    fill(&mut writer)?;
    writer.flush()
}

/// Something that is there and can be written, and that no file may be put in place of.
fn is_no_file(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir())
}

/// Where the symbolic links lead that begin at `path`.
fn destination(path: &Path) -> io::Result<PathBuf> {
    let mut place = path.to_owned();
    for _ in 0..MOST_LINKS {
        let Ok(target) = fs::read_link(&place) else {
            return Ok(place);
        };
        place = folder_of(&place).join(target);
    }
    Err(io::Error::other(format!(
        "{}: a chain of more than {MOST_LINKS} symbolic links, expected a file; name the file itself",
        path.display()
    )))
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// An empty file beside `path` with the permissions that it is to have.
fn beside(path: &Path) -> io::Result<NamedTempFile> {
    let mut builder = Builder::new();
    builder.prefix(".himuon-").suffix(".partial");
    #[cfg(unix)]
    builder.permissions(permissions_of(path));
    builder.tempfile_in(folder_of(path))
}

/// The permissions of the file that is replaced, else those of any new file (the system takes its mask off).
#[cfg(unix)]
fn permissions_of(path: &Path) -> fs::Permissions {
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata(path).map_or(0o666, |existing| existing.permissions().mode());
    fs::Permissions::from_mode(mode & 0o777)
}

/// The rename itself must reach the device too.
#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder)?.sync_all() {
        // Some network file systems have no such request for folders.
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::InvalidInput | ErrorKind::Unsupported
            ) =>
        {
            Ok(())
        }
        result => result,
    }
}

#[cfg(not(unix))]
fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn text(path: &Path, text: &str) -> io::Result<()> {
        write(path, |file| file.write_all(text.as_bytes()))
    }

    /// Replaces the file under the name, as a library may that has a temporary file of its own.
    fn named(path: &Path, text: &str) -> io::Result<()> {
        write_named(path, |name| {
            let other = NamedTempFile::new_in(folder_of(name))?;
            fs::write(&other, text)?;
            other.persist(name).map(drop).map_err(|error| error.error)
        })
    }

    #[test]
    fn modes_and_links_stay_and_new_files_are_as_any_others() {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name);
        fs::write(place("any"), "").unwrap();
        for (name, put) in [
            ("a", text as fn(&Path, &str) -> io::Result<()>),
            ("b", named),
        ] {
            put(&place(name), "new").unwrap();
            assert_eq!(mode(&place(name)), mode(&place("any")));
            fs::set_permissions(place(name), fs::Permissions::from_mode(0o640)).unwrap();
            let (link, chain) = (format!("{name}-link"), format!("{name}-chain"));
            symlink(name, place(&link)).unwrap();
            symlink(&link, place(&chain)).unwrap();
            put(&place(&chain), "through").unwrap();
            assert_eq!(mode(&place(name)), 0o640);
            assert!(place(&chain).is_symlink() && place(&link).is_symlink());
            assert_eq!(fs::read_to_string(place(name)).unwrap(), "through");
            // What a link names need not be there.
            let (dangling, target) = (format!("{name}-dangling"), format!("{name}-target"));
            symlink(&target, place(&dangling)).unwrap();
            put(&place(&dangling), "made").unwrap();
            assert_eq!(fs::read_to_string(place(&target)).unwrap(), "made");
            put(Path::new("/dev/null"), "nowhere").unwrap();
            assert!(!fs::metadata("/dev/null").unwrap().is_file());
        }
        symlink("round", place("round")).unwrap();
        let error = text(&place("round"), "x").unwrap_err();
        assert!(error.to_string().contains("symbolic links"), "{error}");
        let left = fs::read_dir(folder.path()).unwrap();
        let partial = left.filter(|entry| {
            let name = entry.as_ref().unwrap().file_name();
            name.to_str().unwrap().ends_with(".partial")
        });
        assert_eq!(partial.count(), 0);
    }

    #[test]
    fn a_failure_leaves_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        text(&path, "old").unwrap();
        let fails = |_: &Path| Err(io::Error::other("no"));
        assert!(write_named(&path, fails).is_err());
        assert!(write(&path, |_| Err(io::Error::other("no"))).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn one_file_by_whatever_path() {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name);
        fs::create_dir(place("inner")).unwrap();
        fs::write(place("file"), "").unwrap();
        symlink("file", place("link")).unwrap();
        symlink("absent", place("dangling")).unwrap();
        assert!(same(&place("file"), &place("inner/../file")));
        assert!(same(&place("file"), &place("link")));
        assert!(same(&place("absent"), &place("inner/../absent")));
        assert!(same(&place("absent"), &place("dangling")));
        assert!(!same(&place("file"), &place("absent")));
        assert!(!same(&place("file"), &place("inner/file")));
    }
}
