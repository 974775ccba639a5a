//! Handles: what the C interface shows as pointers are keys of tables, so that a stale or foreign one is an error
//! and never a memory access.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{CudaError, DriverResult};

/// The upper bits of every handle: no address of a host process looks like this, so that dereferencing one faults
/// at once.
const MARK: u64 = 0x4869_0000_0000_0000;

/// No number is used twice in a process: a handle of something destroyed stays unknown for ever.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// A handle of a `T`. C passes it as a pointer, which travels as an integer of the same size.
#[repr(transparent)]
pub(crate) struct Handle<T> {
    number: usize,
    of: PhantomData<fn() -> T>,
}

impl<T> Handle<T> {
    pub(crate) const NULL: Self = Self {
        number: 0,
        of: PhantomData,
    };

    fn fresh() -> Self {
        Self::from_number(MARK | NEXT.fetch_add(1, Ordering::Relaxed) << 4)
    }

    pub(crate) fn from_number(number: u64) -> Self {
        Self {
            number: number as usize,
            of: PhantomData,
        }
    }

    pub(crate) fn number(self) -> u64 {
        self.number as u64
    }

    pub(crate) fn is_null(self) -> bool {
        self.number == 0
    }
}

impl<T> Clone for Handle<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Handle<T> {}
impl<T> PartialEq for Handle<T> {
    fn eq(&self, other: &Self) -> bool {
        self.number() == other.number()
    }
}
impl<T> Eq for Handle<T> {}
impl<T> Hash for Handle<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.number().hash(state);
    }
}
impl<T> std::fmt::Debug for Handle<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#x}", self.number())
    }
}

/// The live objects of one kind.
#[derive(Debug)]
pub(crate) struct Table<T> {
    entries: HashMap<u64, T>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self {
            entries: HashMap::new(),
        }
    }
}

impl<T> Table<T> {
    pub(crate) fn insert(&mut self, value: T) -> Handle<T> {
        let handle = Handle::fresh();
        self.entries.insert(handle.number(), value);
        handle
    }

    pub(crate) fn get(&self, handle: Handle<T>) -> DriverResult<&T> {
        self.entries
            .get(&handle.number())
            .ok_or(CudaError::INVALID_HANDLE)
    }

    pub(crate) fn get_mut(&mut self, handle: Handle<T>) -> DriverResult<&mut T> {
        self.entries
            .get_mut(&handle.number())
            .ok_or(CudaError::INVALID_HANDLE)
    }

    pub(crate) fn remove(&mut self, handle: Handle<T>) -> DriverResult<T> {
        self.entries
            .remove(&handle.number())
            .ok_or(CudaError::INVALID_HANDLE)
    }

    pub(crate) fn contains(&self, handle: Handle<T>) -> bool {
        self.entries.contains_key(&handle.number())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Handle<T>, &T)> {
        self.entries
            .iter()
            .map(|(number, value)| (Handle::from_number(*number), value))
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.entries.values_mut()
    }

    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        self.entries.retain(|_, value| keep(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destroyed_handle_stays_unknown() {
        let mut table = Table::default();
        let first = table.insert("first");
        assert_eq!(table.remove(first), Ok("first"));
        let second = table.insert("second");
        assert_ne!(first, second);
        assert_eq!(table.get(first), Err(CudaError::INVALID_HANDLE));
        assert_eq!(table.get(second), Ok(&"second"));
    }

    #[test]
    fn a_handle_is_outside_the_host_s_addresses() {
        let handle = Table::default().insert(());
        assert!(handle.number() >> 47 != 0, "{handle:?}");
    }
}
