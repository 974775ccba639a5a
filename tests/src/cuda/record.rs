//! Entries of tables in device memory, by the layout that a manifest states.

use super::bundle::Table;

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// A device address.
    Pointer(u64),
    /// A count.
    U32(u32),
    /// A number.
    F32(f32),
}

/// Appends an entry to `bytes`. Every field of the table must be given, and no other.
///
/// # Errors
/// A field that is missing, unknown or of another type.
pub fn append(table: &Table, values: &[(&str, Value)], bytes: &mut Vec<u8>) -> Result<(), String> {
    let start = bytes.len();
    bytes.resize(start + table.bytes, 0);
    for (name, _) in values {
        if !table.fields.iter().any(|field| field.name == *name) {
            return Err(format!("{} has no field {name}", table.name));
        }
    }
    for field in &table.fields {
        let value = values
            .iter()
            .find(|(name, _)| *name == field.name)
            .map(|(_, value)| *value)
            .ok_or_else(|| format!("{}.{} has no value", table.name, field.name))?;
        let place = start + field.offset;
        match (field.kind.as_str(), value) {
            ("pointer", Value::Pointer(address)) => {
                bytes[place..place + 8].copy_from_slice(&address.to_le_bytes());
            }
            ("u32", Value::U32(count)) => {
                bytes[place..place + 4].copy_from_slice(&count.to_le_bytes());
            }
            ("f32", Value::F32(number)) => {
                bytes[place..place + 4].copy_from_slice(&number.to_le_bytes());
            }
            (kind, value) => {
                return Err(format!(
                    "{}.{} is {kind}, not {value:?}",
                    table.name, field.name
                ));
            }
        }
    }
    Ok(())
}

/// The 32-bit word of a field of entry `index`.
///
/// # Errors
/// When there is no such field or entry.
pub fn word(table: &Table, bytes: &[u8], index: usize, name: &str) -> Result<u32, String> {
    let field = table
        .fields
        .iter()
        .find(|field| field.name == name && field.kind != "pointer")
        .ok_or_else(|| format!("{} has no field {name} of 32 bits", table.name))?;
    let place = index * table.bytes + field.offset;
    bytes
        .get(place..place + 4)
        .and_then(|word| word.try_into().ok())
        .map(u32::from_le_bytes)
        .ok_or_else(|| format!("{} has no entry {index}", table.name))
}
