//! What the library says while it works, handed to the caller.

use std::cell::Cell;
use std::ffi::{CString, c_char, c_void};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use himuon::messages::{self, LevelFilter, MessagesError, forward};

use crate::status::{Failure, Status, guarded};

/// How severe a message is; the larger, the less so.
pub type Level = u32;

/// Something failed, which no status says.
pub const HIMUON_LEVEL_ERROR: Level = 1;
/// Something that the caller should know, though the work goes on.
pub const HIMUON_LEVEL_WARNING: Level = 2;
/// What is being done that takes long, as tuning.
pub const HIMUON_LEVEL_INFO: Level = 3;
/// Details, for whoever looks for the reason of something.
pub const HIMUON_LEVEL_DEBUG: Level = 4;

/// Takes a message: its level, its text, which ends with a zero and is valid until this returns, and the `user_data` of
/// `himuon_set_log`.
pub type Log =
    Option<unsafe extern "C" fn(level: Level, text: *const c_char, user_data: *mut c_void)>;

/// Who takes messages.
struct Receiver {
    log: unsafe extern "C" fn(Level, *const c_char, *mut c_void),
    user_data: *mut c_void,
    least: Level,
}

// SAFETY: whoever sets it says that any thread may call it with this data.
unsafe impl Send for Receiver {}

static RECEIVER: Mutex<Option<Receiver>> = Mutex::new(None);

thread_local! {
    /// Whether this thread is in the caller's function.
    static IN_CALL: Cell<bool> = const { Cell::new(false) };
}

/// Sets who takes the messages of the library: those of the level `least` (`HIMUON_LEVEL_...`) and the more severe. Without
/// this call, or with a null `log`, nobody is told. It is of the whole process, and holds for every optimizer.
///
/// `log` is called in the middle of the call that a message is about, by whichever thread has something to say, one call at a
/// time. It returns soon, waits for no thread that may be in a call of the library, and neither unwinds nor jumps out. What
/// it calls of the library itself says nothing; it sets no `log`, and neither builds an optimizer nor takes a step, whose own
/// threads would wait for it. Once this function has returned, the former `log` is
/// called no more, and its `user_data` may go.
///
/// # Safety
/// `log` is null or a function as said, which any thread may call with `user_data`, until another one is set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn himuon_set_log(log: Log, user_data: *mut c_void, least: Level) -> Status {
    guarded(|| {
        if IN_CALL.get() {
            return Err(Failure::argument(
                "himuon_set_log was called by the function that takes messages; call it from outside",
            ));
        }
        if !(HIMUON_LEVEL_ERROR..=HIMUON_LEVEL_DEBUG).contains(&least) {
            return Err(Failure::argument(format!(
                "the level is {least}, expected HIMUON_LEVEL_ERROR (1), HIMUON_LEVEL_WARNING (2), HIMUON_LEVEL_INFO (3) or \
                 HIMUON_LEVEL_DEBUG (4)"
            )));
        }
        forward_once().map_err(Failure::refused)?;
        *receiver() = log.map(|log| Receiver {
            log,
            user_data,
            least,
        });
        Ok(())
    })
}

/// A function of the caller's that has panicked has left nothing half done here.
fn receiver() -> MutexGuard<'static, Option<Receiver>> {
    RECEIVER.lock().unwrap_or_else(PoisonError::into_inner)
}

fn forward_once() -> Result<(), MessagesError> {
    static FORWARDED: OnceLock<Result<(), MessagesError>> = OnceLock::new();
    *FORWARDED.get_or_init(|| forward(LevelFilter::DEBUG, |level, text| hand(number(level), text)))
}

fn number(level: messages::Level) -> Level {
    match level {
        messages::Level::ERROR => HIMUON_LEVEL_ERROR,
        messages::Level::WARN => HIMUON_LEVEL_WARNING,
        messages::Level::INFO => HIMUON_LEVEL_INFO,
        _ => HIMUON_LEVEL_DEBUG,
    }
}

fn hand(level: Level, text: &str) {
    if IN_CALL.get() {
        return;
    }
    let receiver = receiver();
    let Some(receiver) = receiver.as_ref().filter(|to| level <= to.least) else {
        return;
    };
    let text = CString::new(text.replace('\0', " ")).unwrap_or_default();
    IN_CALL.set(true);
    // SAFETY: a function that any thread may call with this data, by the word of whoever set it.
    unsafe { (receiver.log)(level, text.as_ptr(), receiver.user_data) };
    IN_CALL.set(false);
}
