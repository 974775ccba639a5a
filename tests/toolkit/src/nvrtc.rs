//! NVRTC through its C interface: CUDA source to PTX.
#![allow(unsafe_code)]

use std::ffi::{CString, c_char, c_int, c_void};
use std::path::Path;
use std::ptr;

use libloading::Library;

use crate::error::ToolkitError;
use crate::locate::Toolkit;

type Program = *mut c_void;
type Status = c_int;
const SUCCESS: Status = 0;

/// The functions of `nvrtc.h` that compile one source.
struct Nvrtc {
    // Keeps the functions below mapped.
    _library: Library,
    version: unsafe extern "C" fn(*mut c_int, *mut c_int) -> Status,
    create: unsafe extern "C" fn(
        *mut Program,
        *const c_char,
        *const c_char,
        c_int,
        *const *const c_char,
        *const *const c_char,
    ) -> Status,
    compile: unsafe extern "C" fn(Program, c_int, *const *const c_char) -> Status,
    destroy: unsafe extern "C" fn(*mut Program) -> Status,
    ptx_size: unsafe extern "C" fn(Program, *mut usize) -> Status,
    ptx: unsafe extern "C" fn(Program, *mut c_char) -> Status,
    log_size: unsafe extern "C" fn(Program, *mut usize) -> Status,
    log: unsafe extern "C" fn(Program, *mut c_char) -> Status,
}

impl Toolkit {
    /// Compiles CUDA C++ to PTX for one architecture.
    ///
    /// `arch` is written as `sm_80` or `compute_80`; `options` are further NVRTC options, one each,
    /// for example `-DHIMUON_TILE=64`.
    ///
    /// # Errors
    ///
    /// [`ToolkitError::Compile`] with NVRTC's log if the source is refused.
    pub fn compile_ptx(
        &self,
        source: &str,
        arch: &str,
        options: &[&str],
    ) -> Result<String, ToolkitError> {
        let nvrtc = Nvrtc::load(self.nvrtc_library())?;
        let source = c_string("the CUDA source", source)?;
        let virtual_arch = arch.replacen("sm_", "compute_", 1);
        let mut arguments = vec![c_string(
            "the architecture",
            &format!("--gpu-architecture={virtual_arch}"),
        )?];
        for option in options {
            arguments.push(c_string("an NVRTC option", option)?);
        }
        nvrtc
            .compile(&source, &arguments)
            .map_err(|(status, log)| ToolkitError::Compile {
                arch: arch.to_owned(),
                status,
                log,
            })
    }
}

/// Major and minor version of the NVRTC at `path`.
pub(crate) fn version(path: &Path) -> Result<(i32, i32), ToolkitError> {
    let nvrtc = Nvrtc::load(path)?;
    let (mut major, mut minor) = (0, 0);
    // SAFETY: both pointers are to live integers of this frame; the function writes nothing else.
    let status = unsafe { (nvrtc.version)(&mut major, &mut minor) };
    if status == SUCCESS {
        Ok((major, minor))
    } else {
        Err(ToolkitError::Tool {
            tool: format!("nvrtcVersion of {}", path.display()),
            status: status.to_string(),
            output: String::new(),
        })
    }
}

fn c_string(what: &'static str, text: &str) -> Result<CString, ToolkitError> {
    CString::new(text).map_err(|error| ToolkitError::NulByte {
        what,
        position: error.nul_position(),
    })
}

impl Nvrtc {
    fn load(path: &Path) -> Result<Self, ToolkitError> {
        let failed = |source| ToolkitError::Load {
            path: path.to_owned(),
            source,
        };
        // SAFETY: the file was found under NVRTC's name in a toolkit's layout or named by the user;
        // its initialisers have no preconditions.
        let library = unsafe { Library::new(path) }.map_err(failed)?;
        // SAFETY: each symbol has the type that nvrtc.h of CUDA 12 and 13 gives it, and the library
        // is kept in the same structure as the functions.
        unsafe {
            Ok(Self {
                version: *library.get(b"nvrtcVersion").map_err(failed)?,
                create: *library.get(b"nvrtcCreateProgram").map_err(failed)?,
                compile: *library.get(b"nvrtcCompileProgram").map_err(failed)?,
                destroy: *library.get(b"nvrtcDestroyProgram").map_err(failed)?,
                ptx_size: *library.get(b"nvrtcGetPTXSize").map_err(failed)?,
                ptx: *library.get(b"nvrtcGetPTX").map_err(failed)?,
                log_size: *library.get(b"nvrtcGetProgramLogSize").map_err(failed)?,
                log: *library.get(b"nvrtcGetProgramLog").map_err(failed)?,
                _library: library,
            })
        }
    }

    /// The PTX, or the failed call with the log.
    fn compile(&self, source: &CString, options: &[CString]) -> Result<String, (String, String)> {
        let mut program: Program = ptr::null_mut();
        // SAFETY: `source` is NUL-terminated and outlives the program, which is destroyed below;
        // with zero headers both header arrays may be null.
        let status = unsafe {
            (self.create)(
                &mut program,
                source.as_ptr(),
                ptr::null(),
                0,
                ptr::null(),
                ptr::null(),
            )
        };
        if status != SUCCESS {
            return Err((format!("nvrtcCreateProgram: {status}"), String::new()));
        }
        let outcome = self.compile_program(program, options);
        // SAFETY: `program` was created above and is destroyed once, here.
        unsafe { (self.destroy)(&mut program) };
        outcome
    }

    fn compile_program(
        &self,
        program: Program,
        options: &[CString],
    ) -> Result<String, (String, String)> {
        let pointers: Vec<*const c_char> = options.iter().map(|option| option.as_ptr()).collect();
        // A list of options is short: the count fits.
        let count = c_int::try_from(pointers.len()).unwrap_or(c_int::MAX);
        // SAFETY: `program` is live (the caller destroys it later) and `pointers` holds `count`
        // NUL-terminated strings that outlive the call.
        let status = unsafe { (self.compile)(program, count, pointers.as_ptr()) };
        if status != SUCCESS {
            let log = Self::text(program, self.log_size, self.log).unwrap_or_default();
            return Err((format!("nvrtcCompileProgram: {status}"), log));
        }
        Self::text(program, self.ptx_size, self.ptx)
            .map_err(|status| (format!("nvrtcGetPTX: {status}"), String::new()))
    }

    /// Reads one of NVRTC's texts by its pair of functions (size with the NUL, then content).
    fn text(
        program: Program,
        size_of: unsafe extern "C" fn(Program, *mut usize) -> Status,
        fill: unsafe extern "C" fn(Program, *mut c_char) -> Status,
    ) -> Result<String, Status> {
        let mut size = 0;
        // SAFETY: `program` is live and `size` is an integer of this frame.
        let status = unsafe { size_of(program, &mut size) };
        if status != SUCCESS {
            return Err(status);
        }
        let mut bytes = vec![0_u8; size];
        // SAFETY: the buffer holds the `size` bytes that the function has just announced.
        let status = unsafe { fill(program, bytes.as_mut_ptr().cast()) };
        if status != SUCCESS {
            return Err(status);
        }
        let end = bytes
            .iter()
            .position(|&byte| byte == 0)
            .unwrap_or(bytes.len());
        Ok(String::from_utf8_lossy(&bytes[..end]).into_owned())
    }
}
