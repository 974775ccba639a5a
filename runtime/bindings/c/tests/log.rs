//! Messages of the library reach the function that is set, and nobody else. One test: who takes them is of the whole process.
#![allow(unsafe_code, clippy::unwrap_used)]

use std::ffi::{CStr, c_char, c_void};
use std::ptr::{null, null_mut};
use std::sync::Mutex;

use himuon_c::*;

/// What a function took, and the status of setting another one from inside it.
#[derive(Default)]
struct Taken(Mutex<Vec<(Level, String, Status)>>);

impl Taken {
    fn address(&self) -> *mut c_void {
        std::ptr::from_ref(self).cast_mut().cast()
    }

    fn all(&self) -> Vec<(Level, String, Status)> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

unsafe extern "C" fn take(level: Level, text: *const c_char, user_data: *mut c_void) {
    // SAFETY: the text ends with a zero, and the data is what the test has set, which outlives it.
    unsafe {
        let taken = &*user_data.cast::<Taken>();
        let text = CStr::from_ptr(text).to_str().unwrap().to_owned();
        // Calls of the library are let in, and say nothing.
        build_with_a_warning();
        let set = himuon_set_log(None, null_mut(), HIMUON_LEVEL_WARNING);
        taken.0.lock().unwrap().push((level, text, set));
    }
}

/// Builds an optimizer with a matrix that no group takes, which deserves a warning.
fn build_with_a_warning() {
    let builder = himuon_builder_new();
    let mut optimizer = null_mut();
    // SAFETY: what the functions ask for.
    unsafe {
        for name in [c"mapped", c"left"] {
            himuon_builder_parameter(builder, name.as_ptr(), [4, 4].as_ptr(), 2);
        }
        himuon_builder_group(builder, c"mapped".as_ptr(), c"tile=2".as_ptr(), null());
        himuon_builder_threads(builder, 1);
        assert_eq!(himuon_build(builder, &mut optimizer), Status::Ok);
        himuon_free(optimizer);
    }
}

fn set(log: Log, taken: &Taken, least: Level) -> Status {
    // SAFETY: whoever is set outlives the last call of the library.
    unsafe { himuon_set_log(log, taken.address(), least) }
}

#[test]
fn messages_reach_whoever_is_set() {
    let (first, second) = (Taken::default(), Taken::default());
    build_with_a_warning();
    assert_eq!(set(Some(take), &first, HIMUON_LEVEL_WARNING), Status::Ok);
    build_with_a_warning();
    let about = |(level, text, _): &(Level, String, Status)| {
        *level == HIMUON_LEVEL_WARNING && text.contains("left is a matrix that no group matches")
    };
    let said = first.all();
    assert_eq!(
        said.iter().filter(|said| about(said)).count(),
        1,
        "{said:?}"
    );
    assert!(said.iter().all(|(_, _, set)| *set == Status::Argument));

    for wrong in [0, 5] {
        assert_eq!(set(Some(take), &first, wrong), Status::Argument);
        // SAFETY: never null, and nothing fails meanwhile.
        let said = unsafe { CStr::from_ptr(himuon_last_error()) };
        assert!(said.to_str().unwrap().contains("HIMUON_LEVEL_ERROR (1)"));
    }
    // Any thread, and another function from now on; none but errors; nobody.
    assert_eq!(set(Some(take), &second, HIMUON_LEVEL_DEBUG), Status::Ok);
    std::thread::spawn(build_with_a_warning).join().unwrap();
    assert!(first.all().is_empty() && second.all().iter().any(about));
    assert_eq!(set(Some(take), &second, HIMUON_LEVEL_ERROR), Status::Ok);
    build_with_a_warning();
    assert_eq!(set(None, &second, HIMUON_LEVEL_DEBUG), Status::Ok);
    build_with_a_warning();
    assert!(second.all().is_empty());
}
