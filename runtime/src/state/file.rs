//! Writing and reading the container: a safetensors header with sorted keys, then the numbers.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Cursor, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use himuon_templates::Element;
use safetensors::Dtype;
use safetensors::tensor::Metadata as Header;
use serde::Serialize;
use xxhash_rust::xxh3::Xxh3;

use super::{SCHEMA, StateError};

const SCHEMA_KEY: &str = "himuon.schema";
const DIGEST_KEY: &str = "himuon.digest";
/// The limit of the format itself.
const LARGEST_HEADER: u64 = 100_000_000;
const READ_SIZE: usize = 1 << 20;

// The format stores numbers with the low byte first, and buffers are written as they lie in memory.
#[cfg(not(target_endian = "little"))]
compile_error!("state files are written from memory: a big-endian target needs a conversion here");

/// One tensor to be written.
#[derive(Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) name: String,
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    pub(crate) bytes: Cow<'a, [u8]>,
}

#[derive(Serialize)]
struct TensorHeader<'a> {
    dtype: Dtype,
    shape: &'a [usize],
    data_offsets: (usize, usize),
}

pub(crate) fn dtype_of(element: Element) -> Dtype {
    match element {
        Element::F32 => Dtype::F32,
        Element::Bf16 => Dtype::BF16,
        Element::F16 => Dtype::F16,
    }
}

/// The digest of metadata, names, types, shapes and numbers, in the order of the file.
struct Digest(Xxh3);

impl Digest {
    fn new<'a>(metadata: impl Iterator<Item = (&'a String, &'a String)>) -> Self {
        let mut digest = Digest(Xxh3::new());
        for (key, value) in metadata.filter(|(key, _)| *key != DIGEST_KEY) {
            digest.text(key);
            digest.text(value);
        }
        digest
    }

    /// Length first, so that no two lists of texts run into the same bytes.
    fn text(&mut self, text: &str) {
        self.0.update(&(text.len() as u64).to_le_bytes());
        self.0.update(text.as_bytes());
    }

    fn tensor(&mut self, name: &str, dtype: Dtype, shape: &[usize]) {
        self.text(name);
        self.text(&format!("{dtype:?}{shape:?}"));
    }

    fn finish(&self) -> String {
        format!("xxh3-{:032x}", self.0.digest128())
    }
}

/// A state that is ready to be written: nothing but the writing itself can fail.
pub(crate) struct Content<'a> {
    header: String,
    entries: Vec<Entry<'a>>,
}

impl<'a> Content<'a> {
    pub(crate) fn new(
        mut metadata: BTreeMap<String, String>,
        mut entries: Vec<Entry<'a>>,
    ) -> Result<Self, StateError> {
        // Wide types first keep every tensor aligned; names make the order the same on every run.
        entries.sort_by(|a, b| {
            let width = |entry: &Entry<'_>| std::cmp::Reverse(entry.dtype.bitsize());
            (width(a), &a.name).cmp(&(width(b), &b.name))
        });
        metadata.insert(SCHEMA_KEY.to_owned(), SCHEMA.to_string());
        let mut digest = Digest::new(metadata.iter());
        for entry in &entries {
            digest.tensor(&entry.name, entry.dtype, &entry.shape);
            digest.0.update(&entry.bytes);
        }
        metadata.insert(DIGEST_KEY.to_owned(), digest.finish());
        let header = header_text(&metadata, &entries)?;
        Ok(Content { header, entries })
    }

    /// Writes the file atomically. Numbers go from the buffers to the file without another copy of them.
    pub(crate) fn write_file(&self, path: &Path) -> Result<(), StateError> {
        himuon_templates::files::write(path, |file| self.write(file)).map_err(io_error(path))
    }

    /// The bytes of that file.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let numbers: usize = self.entries.iter().map(|entry| entry.bytes.len()).sum();
        let mut bytes = Vec::with_capacity(8 + self.header.len() + numbers);
        bytes.extend((self.header.len() as u64).to_le_bytes());
        bytes.extend(self.header.as_bytes());
        for entry in &self.entries {
            bytes.extend(&*entry.bytes);
        }
        bytes
    }

    fn write(&self, file: &mut impl Write) -> std::io::Result<()> {
        file.write_all(&(self.header.len() as u64).to_le_bytes())?;
        file.write_all(self.header.as_bytes())?;
        self.entries
            .iter()
            .try_for_each(|entry| file.write_all(&entry.bytes))
    }
}

fn header_text(
    metadata: &BTreeMap<String, String>,
    entries: &[Entry<'_>],
) -> Result<String, StateError> {
    let json = |value: Result<String, serde_json::Error>| {
        value.map_err(|error| StateError::Describe {
            reason: error.to_string(),
        })
    };
    let mut header = format!(
        "{{\"__metadata__\":{}",
        json(serde_json::to_string(metadata))?
    );
    let mut offset = 0;
    for entry in entries {
        let end = offset + entry.bytes.len();
        let tensor = TensorHeader {
            dtype: entry.dtype,
            shape: &entry.shape,
            data_offsets: (offset, end),
        };
        header.push(',');
        header.push_str(&json(serde_json::to_string(&entry.name))?);
        header.push(':');
        header.push_str(&json(serde_json::to_string(&tensor))?);
        offset = end;
    }
    header.push('}');
    while !header.len().is_multiple_of(8) {
        header.push(' ');
    }
    Ok(header)
}

/// An open state file, or one in memory, whose content matches its digest.
#[derive(Debug)]
pub(crate) struct StateFile<R = File> {
    path: PathBuf,
    file: R,
    header: Header,
    metadata: BTreeMap<String, String>,
    data_start: u64,
}

impl StateFile {
    /// Opens a file and checks its header, its length, its schema and its digest.
    pub(crate) fn open(path: &Path) -> Result<Self, StateError> {
        let file = File::open(path).map_err(io_error(path))?;
        let length = file.metadata().map_err(io_error(path))?.len();
        Self::checked(path, file, length)
    }
}

impl<'a> StateFile<Cursor<&'a [u8]>> {
    /// As [`open`](StateFile::open), of what such a file holds.
    pub(crate) fn in_memory(bytes: &'a [u8]) -> Result<Self, StateError> {
        let length = bytes.len() as u64;
        Self::checked(Path::new("the state in memory"), Cursor::new(bytes), length)
    }
}

impl<R: Read + Seek> StateFile<R> {
    fn checked(path: &Path, mut file: R, length: u64) -> Result<Self, StateError> {
        let header_bytes = read_header(path, &mut file, length)?;
        let (header, data_start) = parse_header(path, &header_bytes, length)?;
        let metadata: BTreeMap<_, _> = header
            .metadata()
            .clone()
            .unwrap_or_default()
            .into_iter()
            .collect();
        let mut state = StateFile {
            path: path.to_owned(),
            file,
            header,
            metadata,
            data_start,
        };
        state.check_schema()?;
        state.check_digest()?;
        Ok(state)
    }

    pub(crate) fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// Names of all tensors.
    pub(crate) fn names(&self) -> Vec<String> {
        self.header.offset_keys()
    }

    /// Whether the file holds a tensor.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.header.info(name).is_some()
    }

    /// Reads a tensor of a known type and shape into `bytes`, which has its length.
    pub(crate) fn read(
        &mut self,
        name: &str,
        dtype: Dtype,
        shape: &[usize],
        bytes: &mut [u8],
    ) -> Result<(), StateError> {
        let Some(info) = self.header.info(name) else {
            return Err(self.foreign(format!("tensor {name} is missing")));
        };
        if info.dtype != dtype || info.shape != shape {
            return Err(self.foreign(format!(
                "tensor {name} is {:?} {:?}, expected {:?} {shape:?}",
                info.dtype, info.shape, dtype
            )));
        }
        let start = self.data_start + info.data_offsets.0 as u64;
        let mut read = |file: &mut R| -> std::io::Result<()> {
            file.seek(SeekFrom::Start(start))?;
            file.read_exact(bytes)
        };
        read(&mut self.file).map_err(io_error(&self.path))
    }

    /// Where it comes from.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A refusal of what should be metadata.
    pub(crate) fn no_state(&self, reason: String) -> StateError {
        StateError::NotState {
            path: self.path.clone(),
            reason,
        }
    }

    /// A refusal with this file's name.
    pub(crate) fn foreign(&self, reason: String) -> StateError {
        StateError::Foreign {
            path: self.path.clone(),
            reason,
        }
    }

    fn check_schema(&self) -> Result<(), StateError> {
        match self.metadata.get(SCHEMA_KEY) {
            None => Err(StateError::NotState {
                path: self.path.clone(),
                reason: format!("its metadata has no {SCHEMA_KEY}"),
            }),
            Some(found) if *found != SCHEMA.to_string() => Err(StateError::Schema {
                path: self.path.clone(),
                found: found.clone(),
            }),
            Some(_) => Ok(()),
        }
    }

    fn check_digest(&mut self) -> Result<(), StateError> {
        let mut digest = Digest::new(self.metadata.iter());
        self.file
            .seek(SeekFrom::Start(self.data_start))
            .map_err(io_error(&self.path))?;
        let mut part = vec![0; READ_SIZE];
        for name in self.header.offset_keys() {
            let Some(info) = self.header.info(&name) else {
                continue;
            };
            digest.tensor(&name, info.dtype, &info.shape);
            let mut rest = info.data_offsets.1 - info.data_offsets.0;
            while rest > 0 {
                let size = rest.min(READ_SIZE);
                self.file
                    .read_exact(&mut part[..size])
                    .map_err(io_error(&self.path))?;
                digest.0.update(&part[..size]);
                rest -= size;
            }
        }
        let found = digest.finish();
        let expected = self.metadata.get(DIGEST_KEY).cloned().unwrap_or_default();
        if found == expected {
            return Ok(());
        }
        Err(StateError::Digest {
            path: self.path.clone(),
            found,
            expected: if expected.is_empty() {
                "none".to_owned()
            } else {
                expected
            },
        })
    }
}

/// The header's length and text; nothing is allocated that the file could not hold.
fn read_header(path: &Path, file: &mut impl Read, length: u64) -> Result<Vec<u8>, StateError> {
    let not_state = |reason: String| StateError::NotState {
        path: path.to_owned(),
        reason,
    };
    let mut prefix = [0; 8];
    if length < 8 {
        return Err(not_state(format!(
            "{length} bytes are too few for a header"
        )));
    }
    file.read_exact(&mut prefix).map_err(io_error(path))?;
    let size = u64::from_le_bytes(prefix);
    if size > LARGEST_HEADER {
        return Err(not_state(format!("its header would have {size} bytes")));
    }
    if size > length - 8 {
        return Err(StateError::Length {
            path: path.to_owned(),
            found: length,
            expected: size + 8,
        });
    }
    let mut bytes = prefix.to_vec();
    bytes.resize(8 + size as usize, 0);
    file.read_exact(&mut bytes[8..]).map_err(io_error(path))?;
    Ok(bytes)
}

fn parse_header(path: &Path, bytes: &[u8], length: u64) -> Result<(Header, u64), StateError> {
    let not_state = |reason: String| StateError::NotState {
        path: path.to_owned(),
        reason,
    };
    let header: Header =
        serde_json::from_slice(&bytes[8..]).map_err(|error| not_state(error.to_string()))?;
    let data_start = bytes.len() as u64;
    let expected = data_start + header.data_len() as u64;
    if expected != length {
        return Err(StateError::Length {
            path: path.to_owned(),
            found: length,
            expected,
        });
    }
    Ok((header, data_start))
}

fn io_error(path: &Path) -> impl Fn(std::io::Error) -> StateError + '_ {
    move |source| StateError::Io {
        path: path.to_owned(),
        source,
    }
}
