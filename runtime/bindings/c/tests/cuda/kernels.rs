//! Kernels from a folder: a step needs no compiler.

use std::ffi::{CStr, CString};
use std::path::Path;
use std::ptr::null_mut;

use himuon::KernelSpec;
use himuon_c::*;
use himuon_codegen::compile::Compiler;
use himuon_codegen::pipeline::{emit, emit_companion};
use himuon_toolkit::Toolkit;

use crate::caller::Caller;
use crate::steps::{assert_close, built_on_cpu, step_on_cpu};
use crate::{declared, emulated, gradients, said, weights};

/// What `himuon emit --tile 16 --arch sm_80 --complete --out FOLDER` writes where no ptxas is.
fn fill(folder: &Path) {
    let toolkit = Toolkit::locate_or_install().unwrap();
    let compiler = Compiler::new(toolkit.nvrtc_library());
    let spec: KernelSpec = "tile=16".parse().unwrap();
    emit(&spec, None, "sm_80", Some(&compiler), folder).unwrap();
    emit_companion("sm_80", Some(&compiler), folder).unwrap();
}

/// The bundles of a folder, as if they had been made for a device that no other one can stand in for.
fn fill_for_another(folder: &Path, from: &Path) {
    for bundle in std::fs::read_dir(from).unwrap() {
        let bundle = bundle.unwrap();
        let to = folder.join(bundle.file_name());
        std::fs::create_dir_all(&to).unwrap();
        let read = |name: &str| std::fs::read_to_string(bundle.path().join(name)).unwrap();
        let ptx = read("kernel.ptx").replace(".target sm_80", ".target sm_90a");
        std::fs::write(to.join("kernel.ptx"), ptx).unwrap();
        std::fs::write(to.join("kernel.cu"), read("kernel.cu")).unwrap();
    }
}

fn text(path: &Path) -> CString {
    CString::new(path.to_str().unwrap()).unwrap()
}

/// Builds with the kernels of a folder.
fn built(caller: &Caller, folder: &CStr) -> *mut Optimizer {
    let builder = declared();
    // SAFETY: both are there.
    let read = unsafe { himuon_builder_kernels(builder, folder.as_ptr()) };
    assert_eq!(read, Status::Ok, "{}", said());
    caller.build_of(builder)
}

#[test]
fn a_step_with_the_kernels_of_a_folder_needs_no_compiler() {
    const FOLDERS: &str = "HIMUON_TEST_FOLDERS";
    let made = tempfile::tempdir().unwrap();
    if std::env::var_os(FOLDERS).is_none() {
        let own = made.path().join("sm_80");
        fill(&own);
        fill_for_another(&made.path().join("sm_90a"), &own);
    }
    let cache = made.path().join("cache");
    let environment = [
        (FOLDERS, made.path().to_str().unwrap()),
        ("HIMUON_CACHE_DIR", cache.to_str().unwrap()),
        ("HIMUON_NVRTC_PATH", "/nonexistent/libnvrtc.so"),
    ];
    let test = "kernels::a_step_with_the_kernels_of_a_folder_needs_no_compiler";
    emulated(test, &environment, || {
        let folders = std::env::var(FOLDERS).unwrap();
        let of = |name: &str| text(&Path::new(&folders).join(name));
        let start = weights();
        let (mut host, mut device) = (start.clone(), Caller::new(&start));
        let (weights, by) = (
            device.tensors(&device.weights),
            device.tensors(&device.gradients),
        );
        // Nothing, and what another device would take.
        let optimizer = device.build();
        let (status, _) = device.try_step(optimizer, &weights, &by);
        assert_eq!(status, Status::Refused);
        assert!(said().contains("libnvrtc"), "{}", said());
        device.free(optimizer);
        let optimizer = built(&device, &of("sm_90a"));
        let (status, _) = device.try_step(optimizer, &weights, &by);
        assert_eq!(status, Status::Refused);
        assert!(said().contains("name sm_80"), "{}", said());
        device.free(optimizer);
        assert_eq!(device.read(), start);

        // Of all that there is in the folders of a folder.
        let (on_cpu, on_device) = (built_on_cpu(), built(&device, &text(Path::new(&folders))));
        step_on_cpu(on_cpu, &mut host, gradients(0));
        let report = device.step(on_device, &gradients(0));
        assert_eq!((report.launches, report.tiles), (2, 6));
        assert_close("kernels of a folder", &start, &device.read(), &host);
        device.free(on_device);
        // SAFETY: built above, and used no more.
        unsafe { himuon_free(on_cpu) };
    });
}

#[test]
fn folders_without_kernels_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = folder.path().join("ns_t16");
    let builder = himuon_builder_new();
    let refused = |parts: &[&str]| {
        let path = text(folder.path());
        // SAFETY: both are there.
        let status = unsafe { himuon_builder_kernels(builder, path.as_ptr()) };
        assert_eq!(status, Status::Refused);
        let said = said();
        assert!(parts.iter().all(|part| said.contains(part)), "{said}");
    };
    refused(&["no bundle", "himuon emit --complete"]);
    std::fs::create_dir(&bundle).unwrap();
    refused(&["no bundle"]);
    std::fs::write(bundle.join("kernel.cu"), "// text alone").unwrap();
    refused(&["ns_t16", "no kernel.ptx"]);
    std::fs::write(bundle.join("kernel.ptx"), "damaged").unwrap();
    refused(&["names no .target"]);
    // SAFETY: null is refused; the builder is there.
    unsafe {
        let none = himuon_builder_kernels(builder, std::ptr::null());
        assert_eq!(none, Status::Argument);
        himuon_builder_kernels(null_mut(), c"nowhere".as_ptr());
        assert!(said().contains("builder is null"), "{}", said());
        himuon_builder_free(builder);
    }
}
