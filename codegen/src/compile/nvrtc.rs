//! NVRTC through its C interface, which has been the same since its first version.
#![allow(unsafe_code)]

use super::{CompileError, Compiled, Compiler, Part};
use libloading::Library;
use std::ffi::{CString, c_char, c_int, c_void};
use std::ptr;

type Program = *mut c_void;
type Status = c_int;
type SizeOf = unsafe extern "C" fn(Program, *mut usize) -> Status;
type Fill = unsafe extern "C" fn(Program, *mut c_char) -> Status;
type Count = unsafe extern "C" fn(*mut c_int) -> Status;
type List = unsafe extern "C" fn(*mut c_int) -> Status;
const SUCCESS: Status = 0;

struct Nvrtc {
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
    version: unsafe extern "C" fn(*mut c_int, *mut c_int) -> Status,
    ptx_size: SizeOf,
    ptx: Fill,
    /// Not in versions before 11.1.
    cubin: Option<(SizeOf, Fill)>,
    log_size: SizeOf,
    log: Fill,
    /// Not in versions before 11.2.
    architectures: Option<(Count, List)>,
    // Keeps the functions above mapped.
    _library: Library,
}

/// What NVRTC makes of a text.
struct Output {
    ptx: String,
    /// Machine code, where a real architecture was named.
    cubin: Option<Vec<u8>>,
}

/// A failed call with NVRTC's log.
struct Failure {
    status: String,
    log: String,
}

impl Compiler {
    /// Compiles `part` of a CUDA text for `architecture` (as in `sm_80`), and assembles it if `ptxas` was found.
    ///
    /// # Errors
    /// When NVRTC cannot be loaded, or a tool refuses the text.
    pub fn compile(
        &self,
        text: &str,
        architecture: &str,
        part: Part,
    ) -> Result<Compiled, CompileError> {
        let ptx = self.ptx(text, architecture, part)?;
        let cubin = match &self.ptxas {
            Some(ptxas) => {
                let (cubin, mut resources) = super::ptxas::assemble(ptxas, &ptx, architecture)?;
                if let Some(nvdisasm) = &self.nvdisasm {
                    let mut counts = super::sass::count(nvdisasm, &cubin)?;
                    for entry in &mut resources {
                        entry.instructions = counts.remove(&entry.entry);
                    }
                }
                Some((cubin, resources))
            }
            None => None,
        };
        Ok(Compiled { ptx, cubin })
    }

    /// The version of NVRTC: `13.5`.
    ///
    /// # Errors
    /// When NVRTC cannot be loaded.
    pub fn version(&self) -> Result<String, CompileError> {
        let nvrtc = Nvrtc::load(self)?;
        let (mut major, mut minor) = (0, 0);
        // SAFETY: the function writes one int to each address and has no other precondition.
        let status = unsafe { (nvrtc.version)(&mut major, &mut minor) };
        if status != SUCCESS {
            return Err(CompileError::Tool {
                tool: self.nvrtc.clone(),
                message: format!("nvrtcVersion: {status}"),
            });
        }
        Ok(format!("{major}.{minor}"))
    }

    /// PTX for a device: of `architecture`, or, where NVRTC is older than that, of the newest one that it knows, which a driver
    /// compiles for every later one.
    ///
    /// # Errors
    /// When NVRTC cannot be loaded or refuses the text.
    pub fn ptx_for_device(
        &self,
        text: &str,
        architecture: &str,
        part: Part,
    ) -> Result<String, CompileError> {
        let refused = match self.ptx(text, architecture, part) {
            Err(error @ CompileError::Refused { .. }) => error,
            outcome => return outcome,
        };
        let known = Nvrtc::load(self)?.known_architectures();
        let Some(older) = newest_before(&known, architecture) else {
            return Err(refused);
        };
        // Where it refuses that too, the text is at fault.
        self.ptx(text, &format!("sm_{older}"), part)
            .map_err(|_| refused)
    }

    /// PTX alone, of exactly `architecture`.
    ///
    /// # Errors
    /// When NVRTC cannot be loaded or refuses the text.
    pub fn ptx(&self, text: &str, architecture: &str, part: Part) -> Result<String, CompileError> {
        let target = architecture.replacen("sm_", "compute_", 1);
        Ok(self.by_nvrtc(text, &target, part)?.ptx)
    }

    /// PTX as of [`Compiler::ptx_for_device`], and machine code of exactly `architecture` where NVRTC makes it: what a program
    /// loads that compiles where it runs. Neither `ptxas` nor `nvdisasm` is run.
    ///
    /// # Errors
    /// When NVRTC cannot be loaded or refuses the text.
    pub fn ptx_and_cubin(
        &self,
        text: &str,
        architecture: &str,
        part: Part,
    ) -> Result<(String, Option<Vec<u8>>), CompileError> {
        match self.by_nvrtc(text, architecture, part) {
            Ok(Output { ptx, cubin }) => Ok((ptx, cubin)),
            // The assembler inside may fail where the driver's does not.
            Err(CompileError::Refused { .. }) => {
                Ok((self.ptx_for_device(text, architecture, part)?, None))
            }
            Err(error) => Err(error),
        }
    }

    /// `target` is virtual (`compute_80`) or real (`sm_80`).
    fn by_nvrtc(&self, text: &str, target: &str, part: Part) -> Result<Output, CompileError> {
        let nvrtc = Nvrtc::load(self)?;
        let refused = |failure: Failure| CompileError::Refused {
            architecture: target.replacen("compute_", "sm_", 1),
            status: failure.status,
            log: failure.log,
        };
        let c_string = |text: &str| {
            CString::new(text).map_err(|error| {
                refused(Failure {
                    status: error.to_string(),
                    log: String::new(),
                })
            })
        };
        let options = std::iter::once(format!("--gpu-architecture={target}"))
            .chain(super::OPTIONS.map(str::to_owned))
            .chain(part.option().map(str::to_owned))
            .map(|option| c_string(&option))
            .collect::<Result<Vec<_>, _>>()?;
        nvrtc.compile(&c_string(text)?, &options).map_err(refused)
    }
}

impl Nvrtc {
    fn load(compiler: &Compiler) -> Result<Self, CompileError> {
        let failed = |source| CompileError::Load {
            path: compiler.nvrtc.clone(),
            source,
        };
        // SAFETY: the file was found under NVRTC's name or named by the user; its initialisers have no
        // preconditions.
        let library = unsafe { Library::new(&compiler.nvrtc) }.map_err(failed)?;
        // SAFETY: each symbol has the type that nvrtc.h gives it, and the library is kept in the same structure
        // as the functions.
        unsafe {
            Ok(Self {
                create: *library.get(b"nvrtcCreateProgram").map_err(failed)?,
                compile: *library.get(b"nvrtcCompileProgram").map_err(failed)?,
                destroy: *library.get(b"nvrtcDestroyProgram").map_err(failed)?,
                version: *library.get(b"nvrtcVersion").map_err(failed)?,
                ptx_size: *library.get(b"nvrtcGetPTXSize").map_err(failed)?,
                ptx: *library.get(b"nvrtcGetPTX").map_err(failed)?,
                cubin: library
                    .get(b"nvrtcGetCUBINSize")
                    .and_then(|size| Ok((*size, *library.get(b"nvrtcGetCUBIN")?)))
                    .ok(),
                log_size: *library.get(b"nvrtcGetProgramLogSize").map_err(failed)?,
                log: *library.get(b"nvrtcGetProgramLog").map_err(failed)?,
                architectures: library
                    .get(b"nvrtcGetNumSupportedArchs")
                    .and_then(|count| Ok((*count, *library.get(b"nvrtcGetSupportedArchs")?)))
                    .ok(),
                _library: library,
            })
        }
    }

    /// The numbers of all architectures, as 80; none where NVRTC does not tell.
    fn known_architectures(&self) -> Vec<c_int> {
        let Some((count, list)) = self.architectures else {
            return Vec::new();
        };
        let mut number = 0;
        // SAFETY: the function writes one int and has no other precondition.
        let counted = unsafe { count(&mut number) } == SUCCESS;
        let mut known = vec![0; usize::try_from(number).unwrap_or(0)];
        // SAFETY: the list has as many numbers as the library has just said.
        if !counted || unsafe { list(known.as_mut_ptr()) } != SUCCESS {
            return Vec::new();
        }
        known
    }

    fn compile(&self, text: &CString, options: &[CString]) -> Result<Output, Failure> {
        let mut program: Program = ptr::null_mut();
        // SAFETY: `text` is NUL-terminated and outlives the program, which is destroyed below; with zero headers
        // both header arrays may be null.
        let status = unsafe {
            (self.create)(
                &mut program,
                text.as_ptr(),
                c"himuon.cu".as_ptr(),
                0,
                ptr::null(),
                ptr::null(),
            )
        };
        if status != SUCCESS {
            return Err(Failure {
                status: format!("nvrtcCreateProgram: {status}"),
                log: String::new(),
            });
        }
        let outcome = self.compile_program(program, options);
        // SAFETY: `program` was created above and is destroyed once, here.
        unsafe { (self.destroy)(&mut program) };
        outcome
    }

    fn compile_program(&self, program: Program, options: &[CString]) -> Result<Output, Failure> {
        let pointers: Vec<*const c_char> = options.iter().map(|option| option.as_ptr()).collect();
        let count = c_int::try_from(pointers.len()).unwrap_or(c_int::MAX);
        // SAFETY: `program` is live (the caller destroys it later) and `pointers` holds `count` NUL-terminated
        // strings that outlive the call.
        let status = unsafe { (self.compile)(program, count, pointers.as_ptr()) };
        let log = || text_of(program, self.log_size, self.log).unwrap_or_default();
        if status != SUCCESS {
            return Err(Failure {
                status: format!("nvrtcCompileProgram: {status}"),
                log: log(),
            });
        }
        let ptx = text_of(program, self.ptx_size, self.ptx).map_err(|status| Failure {
            status: format!("nvrtcGetPTX: {status}"),
            log: log(),
        })?;
        let cubin = self
            .cubin
            .and_then(|(size, fill)| bytes_of(program, size, fill).ok());
        Ok(Output {
            ptx,
            // Of a virtual architecture there is none.
            cubin: cubin.filter(|bytes| !bytes.is_empty()),
        })
    }
}

/// The newest of the `known` architectures before `wanted`, unless that is known: of `sm_90a`, whose letter may be younger than
/// its number, 90.
fn newest_before(known: &[c_int], wanted: &str) -> Option<c_int> {
    let name = wanted.strip_prefix("sm_")?;
    let number = name.trim_end_matches(|letter: char| letter.is_ascii_lowercase());
    let (wanted, is_plain): (c_int, bool) = (number.parse().ok()?, number == name);
    if is_plain && known.contains(&wanted) {
        return None;
    }
    known
        .iter()
        .copied()
        .filter(|&number| number <= wanted)
        .max()
}

/// One of NVRTC's texts, without the NUL.
fn text_of(program: Program, size_of: SizeOf, fill: Fill) -> Result<String, Status> {
    let bytes = bytes_of(program, size_of, fill)?;
    let end = bytes
        .iter()
        .position(|&byte| byte == 0)
        .unwrap_or(bytes.len());
    Ok(String::from_utf8_lossy(&bytes[..end]).into_owned())
}

/// One of NVRTC's results by its pair of functions: size, then content.
fn bytes_of(program: Program, size_of: SizeOf, fill: Fill) -> Result<Vec<u8>, Status> {
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
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::newest_before;

    #[test]
    fn an_unknown_architecture_takes_the_newest_before_it() {
        let known = [75, 80, 86, 89, 90];
        for (wanted, expected) in [
            ("sm_80", None),
            ("sm_90a", Some(90)),
            ("sm_87", Some(86)),
            ("sm_100a", Some(90)),
            ("sm_120", Some(90)),
            ("sm_70", None),
            ("gfx90a", None),
        ] {
            assert_eq!(newest_before(&known, wanted), expected, "{wanted}");
        }
        assert_eq!(newest_before(&[], "sm_120"), None);
    }
}
