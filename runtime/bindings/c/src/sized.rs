//! Structures that may grow: each begins with its size, which tells what the caller was compiled against.

use std::mem::MaybeUninit;

use crate::status::Failure;

/// A structure of the header that a later version may give more members, at its end and not in what was padding.
///
/// # Safety
/// It is `repr(C)` and begins with `size: usize`. Whatever its members are up to `FIRST` and beyond, a part of one structure
/// followed by the rest of another is a structure.
pub(crate) unsafe trait Grows: Copy {
    /// What it is, as errors say.
    const WHAT: &'static str;
    /// How the caller makes one, as errors say.
    const MADE: &'static str;
    /// Its size in the first version that had it: the offset of the first member that was added since.
    const FIRST: usize;
}

/// Refuses a size that no version so far had.
pub(crate) fn check_size<T: Grows>(found: usize) -> Result<(), Failure> {
    let (what, made, known) = (T::WHAT, T::MADE, size_of::<T>());
    if found < T::FIRST {
        return Err(Failure::argument(format!(
            "the size of {what} is {found}, expected at least {}: begin with {made}",
            T::FIRST
        )));
    }
    if found > known {
        return Err(Failure::argument(format!(
            "the size of {what} is {found}, this library ({}) knows {known}: the program was compiled against the header of \
             a later one; link that one, or compile with the header of this one",
            env!("CARGO_PKG_VERSION")
        )));
    }
    Ok(())
}

/// What the caller has set, over `default` for what its version does not have. Null is the default.
///
/// # Safety
/// `from` is null or points to a structure as long as it says.
pub(crate) unsafe fn read<T: Grows>(from: *const T, default: T) -> Result<T, Failure> {
    if from.is_null() {
        return Ok(default);
    }
    // SAFETY: it begins with its size.
    let size = unsafe { from.cast::<usize>().read() };
    check_size::<T>(size)?;
    let mut value = MaybeUninit::new(default);
    // SAFETY: so many bytes are there by the caller's word, and no more than of a `T` by the check; a part of one structure
    // followed by the rest of the default is one.
    unsafe {
        let to = value.as_mut_ptr().cast::<u8>();
        std::ptr::copy_nonoverlapping(from.cast::<u8>(), to, size);
        Ok(value.assume_init())
    }
}

/// A place of the caller's for a structure, whose size is known.
pub(crate) struct PlaceOf<T> {
    to: *mut T,
    size: usize,
}

impl<T: Grows> PlaceOf<T> {
    /// Null is no place.
    ///
    /// # Safety
    /// `to` is null or points to a structure as long as it says, which is the caller's until the result is gone.
    pub(crate) unsafe fn at(to: *mut T) -> Result<Option<Self>, Failure> {
        if to.is_null() {
            return Ok(None);
        }
        // SAFETY: it begins with its size.
        let size = unsafe { to.cast::<usize>().read() };
        check_size::<T>(size)?;
        Ok(Some(PlaceOf { to, size }))
    }

    /// As [`at`](Self::at), of what is not filled yet, by the size that the caller says.
    ///
    /// # Safety
    /// `to` is null or a place of so many bytes, the caller's until the result is gone.
    pub(crate) unsafe fn of_size(to: *mut T, size: usize) -> Result<Self, Failure> {
        if to.is_null() {
            let what = T::WHAT;
            return Err(Failure::argument(format!(
                "the place of {what} is null, expected {size} bytes"
            )));
        }
        check_size::<T>(size)?;
        Ok(PlaceOf { to, size })
    }

    /// Fills it as far as the caller's version goes.
    pub(crate) fn fill(self, value: &T) {
        let from = std::ptr::from_ref(value).cast::<u8>();
        // SAFETY: so many bytes are there by the word of whoever made the place, and no more than of a `T` by the check. The
        // size is written last, and is the caller's.
        unsafe {
            std::ptr::copy_nonoverlapping(from, self.to.cast::<u8>(), self.size);
            self.to.cast::<usize>().write(self.size);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// The first version.
    #[repr(C)]
    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Earlier {
        size: usize,
        rate: f64,
    }

    #[repr(C)]
    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Later {
        size: usize,
        rate: f64,
        added: f64,
    }

    // SAFETY: `repr(C)`, and every member stands for itself.
    unsafe impl Grows for Later {
        const WHAT: &str = "it";
        const MADE: &str = "its function";
        const FIRST: usize = std::mem::offset_of!(Later, added);
    }

    const DEFAULT: Later = Later {
        size: size_of::<Later>(),
        rate: 1.0,
        added: 2.0,
    };

    #[test]
    fn an_earlier_program_gets_the_default_of_what_was_added() {
        let earlier = Earlier {
            size: size_of::<Earlier>(),
            rate: 0.5,
        };
        let later = Later {
            added: 3.0,
            ..DEFAULT
        };
        // SAFETY: both are as long as they say.
        let [earlier, later] = [(&raw const earlier).cast(), &raw const later]
            .map(|from| unsafe { read(from, DEFAULT) }.ok().unwrap());
        assert_eq!((earlier.rate, earlier.added), (0.5, 2.0));
        assert_eq!((later.rate, later.added), (1.0, 3.0));
    }

    #[test]
    fn nothing_is_written_beyond_the_place_of_an_earlier_program() {
        let mut earlier = [Earlier {
            size: size_of::<Earlier>(),
            rate: 0.5,
        }; 2];
        let place = earlier.as_mut_ptr().cast();
        // SAFETY: it is as long as it says.
        let place: PlaceOf<Later> = unsafe { PlaceOf::at(place) }.ok().unwrap().unwrap();
        place.fill(&DEFAULT);
        assert_eq!([earlier[0].rate, earlier[1].rate], [1.0, 0.5]);
        assert_eq!(earlier.map(|each| each.size), [size_of::<Earlier>(); 2]);
    }
}
