//! The table as text: JSON that a person can read and a program can trust.
//!
//! Every entry carries the digest of its own content, so that a flipped bit, or an edit by hand, is found. An
//! entry that does not read or does not match is skipped and written back unchanged: it may belong to a later
//! version of this library.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::entry::TuningEntry;
use super::error::TuningError;
use super::fingerprint::DeviceFingerprint;
use super::level::Clock;
use super::shape_class::ShapeClass;
use super::table::{SCHEMA, TuningTable};

/// An entry as it stands in the file, its digest aside.
#[derive(Serialize, Deserialize)]
struct FileEntry {
    spec: String,
    class: ShapeClass,
    #[serde(flatten)]
    entry: TuningEntry,
}

impl TuningTable {
    /// The file's text.
    ///
    /// # Errors
    /// None in fact: everything in a table has a JSON form.
    pub fn to_json(&self) -> Result<String, TuningError> {
        let mut text = String::new();
        print(&self.to_value()?, 0, &mut text);
        text.push('\n');
        Ok(text)
    }

    /// As [`TuningTable::to_json`], as a value.
    ///
    /// # Errors
    /// As there.
    pub fn to_value(&self) -> Result<Value, TuningError> {
        let unwritable = |error: serde_json::Error| TuningError::Damaged {
            path: self.device.slug().into(),
            reason: error.to_string(),
        };
        let mut entries = Vec::with_capacity(self.entries.len() + self.unread.len());
        for ((spec, class), entry) in &self.entries {
            let value = serde_json::to_value(FileEntry {
                spec: spec.clone(),
                class: *class,
                entry: entry.clone(),
            })
            .map_err(unwritable)?;
            entries.push(sealed(value));
        }
        entries.extend(self.unread.iter().cloned());
        Ok(serde_json::json!({
            "himuon": "tuning table",
            "schema": SCHEMA,
            "emulated": self.emulated,
            "device": serde_json::to_value(&self.device).map_err(unwritable)?,
            "entries": entries,
        }))
    }

    /// Reads a table's text; `path` is for errors.
    ///
    /// # Errors
    /// Text that is no table, or one of another schema. Entries that do not read are no error: see
    /// [`TuningTable::warnings`].
    pub fn from_json(text: &str, path: &Path) -> Result<Self, TuningError> {
        let value = serde_json::from_str(text).map_err(|error| TuningError::Damaged {
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
        Self::from_value(value, path)
    }

    /// As [`TuningTable::from_json`], of a value.
    ///
    /// # Errors
    /// As there.
    pub fn from_value(value: Value, path: &Path) -> Result<Self, TuningError> {
        let damaged = |reason: String| TuningError::Damaged {
            path: path.to_owned(),
            reason,
        };
        let Value::Object(mut object) = value else {
            return Err(damaged("no JSON object".to_owned()));
        };
        let schema = object.get("schema").and_then(Value::as_u64);
        if schema != Some(u64::from(SCHEMA)) {
            return Err(TuningError::Foreign {
                path: path.to_owned(),
                what: "schema",
                found: schema.map_or_else(|| "none".to_owned(), |schema| schema.to_string()),
                expected: SCHEMA.to_string(),
            });
        }
        let device: DeviceFingerprint = object
            .remove("device")
            .ok_or_else(|| damaged("no device".to_owned()))
            .and_then(|value| serde_json::from_value(value).map_err(|e| damaged(e.to_string())))?;
        let Some(Value::Bool(emulated)) = object.remove("emulated") else {
            return Err(damaged("no `emulated`".to_owned()));
        };
        let Some(Value::Array(entries)) = object.remove("entries") else {
            return Err(damaged("no list of entries".to_owned()));
        };
        let mut table = TuningTable {
            emulated,
            ..TuningTable::new(device)
        };
        for (index, value) in entries.into_iter().enumerate() {
            match read_entry(&value, emulated) {
                Ok((key, entry)) => {
                    table.entries.insert(key, entry);
                }
                Err(reason) => {
                    table.warnings.push(format!(
                        "{}: entry {index}: {reason}; it is skipped and kept as it is",
                        path.display()
                    ));
                    table.unread.push(value);
                }
            }
        }
        Ok(table)
    }
}

type Key = (String, ShapeClass);

fn read_entry(value: &Value, emulated: bool) -> Result<(Key, TuningEntry), String> {
    let Value::Object(object) = value else {
        return Err("no JSON object".to_owned());
    };
    let stated = object.get("digest").and_then(Value::as_str);
    let found = digest(object);
    match stated {
        Some(stated) if stated == found => {}
        Some(_) => return Err("its content does not match its digest".to_owned()),
        None => return Err("it has no digest".to_owned()),
    }
    let FileEntry { spec, class, entry } =
        serde_json::from_value(value.clone()).map_err(|error| error.to_string())?;
    if (entry.clock == Clock::Emulated) != emulated {
        return Err("its clock is not the table's".to_owned());
    }
    Ok(((spec, class), entry))
}

/// An entry with its digest.
fn sealed(value: Value) -> Value {
    let Value::Object(mut object) = value else {
        return value;
    };
    let digest = digest(&object);
    object.insert("digest".to_owned(), Value::String(digest));
    Value::Object(object)
}

/// Digest of an entry's content without the digest itself, whatever the order of its fields.
fn digest(object: &Map<String, Value>) -> String {
    let mut text = String::new();
    print_fields(object, |key| key != "digest", None, &mut text);
    format!("{:016x}", xxhash_rust::xxh3::xxh3_64(text.as_bytes()))
}

/// Indented text with sorted fields; lists of plain values stay on one line.
fn print(value: &Value, depth: usize, text: &mut String) {
    match value {
        Value::Object(object) => print_fields(object, |_| true, Some(depth), text),
        Value::Array(list) => print_list(list, Some(depth), text),
        plain => text.push_str(&plain.to_string()),
    }
}

/// The fields for which `wanted` holds, sorted; without a depth on one line.
fn print_fields(
    object: &Map<String, Value>,
    wanted: impl Fn(&str) -> bool,
    depth: Option<usize>,
    text: &mut String,
) {
    let mut fields: Vec<_> = object.iter().filter(|(key, _)| wanted(key)).collect();
    fields.sort_by_key(|(key, _)| key.as_str());
    text.push('{');
    for (index, (key, value)) in fields.iter().enumerate() {
        separate(index, depth.map(|depth| depth + 1), text);
        text.push_str(&Value::String((*key).clone()).to_string());
        text.push_str(": ");
        print_in(value, depth.map(|depth| depth + 1), text);
    }
    if !fields.is_empty() {
        line(depth, text);
    }
    text.push('}');
}

fn print_list(list: &[Value], depth: Option<usize>, text: &mut String) {
    let plain = |value: &Value| match value {
        Value::Array(inner) => inner.iter().all(|v| !v.is_array() && !v.is_object()),
        value => !value.is_object(),
    };
    let depth = depth.filter(|_| !list.iter().all(plain));
    text.push('[');
    for (index, value) in list.iter().enumerate() {
        separate(index, depth.map(|depth| depth + 1), text);
        print_in(value, depth.map(|depth| depth + 1), text);
    }
    if !list.is_empty() {
        line(depth, text);
    }
    text.push(']');
}

fn print_in(value: &Value, depth: Option<usize>, text: &mut String) {
    match (value, depth) {
        (value, Some(depth)) => print(value, depth, text),
        (Value::Object(object), None) => print_fields(object, |_| true, None, text),
        (Value::Array(list), None) => print_list(list, None, text),
        (plain, None) => text.push_str(&plain.to_string()),
    }
}

fn separate(index: usize, depth: Option<usize>, text: &mut String) {
    if index > 0 {
        text.push(',');
        if depth.is_none() {
            text.push(' ');
        }
    }
    line(depth, text);
}

fn line(depth: Option<usize>, text: &mut String) {
    if let Some(depth) = depth {
        text.push('\n');
        text.extend(std::iter::repeat_n("  ", depth));
    }
}
