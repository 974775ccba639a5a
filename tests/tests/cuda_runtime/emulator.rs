//! Tests in a process of their own, with the emulated driver or a GPU, the compiler, and a cache of compiled kernels
//! that all of them share.

use std::sync::OnceLock;

use himuon::cuda;
use himuon_tests::cuda::CudaBackend;
use himuon_toolkit::Toolkit;
use himuon_toolkit::emulated::{Isolated, isolated, isolated_on_gpu};

/// With [`emulated`]: the model may choose variants where no table does.
pub(crate) const MODEL_CHOOSES: (&str, &str) = ("HIMUON_DETERMINISTIC", "0");

/// Runs `body` in a child process whose CUDA driver is the emulated one; `test` is the full name of the test. Variants are
/// the default ones, unless a table is given.
/// Returns what the child printed; empty in the child.
pub(crate) fn emulated(test: &str, environment: &[(&str, &str)], body: impl FnOnce()) -> String {
    let all = complete(environment);
    printed(isolated(test, &borrowed(&all), body).unwrap())
}

/// Runs `body` in a child process with the GPU of this machine; says so where there is none that can be used.
pub(crate) fn on_gpu(test: &str, body: impl FnOnce()) {
    static USABLE: OnceLock<Result<String, String>> = OnceLock::new();
    if !is_child() {
        match USABLE.get_or_init(usable_gpu) {
            Ok(name) => println!("on {name}"),
            Err(why) => return println!("SKIPPED: no GPU to run on ({why})"),
        }
    }
    let all = complete(&[]);
    printed(isolated_on_gpu(test, &borrowed(&all), body).unwrap());
}

fn usable_gpu() -> Result<String, String> {
    let device = cuda::devices()
        .map_err(|error| error.to_string())?
        .remove(0);
    let name = format!("{}, driver {}", device.name, device.driver_version());
    match CudaBackend::on_gpu(&device.target()) {
        Ok(_) => Ok(name),
        Err(why) => Err(format!("{name}: {why}")),
    }
}

/// [`emulated`], then [`on_gpu`].
pub(crate) fn emulated_and_on_gpu(test: &str, body: impl Fn()) {
    emulated(test, &[], &body);
    if !is_child() {
        on_gpu(test, body);
    }
}

fn is_child() -> bool {
    std::env::var_os("HIMUON_ISOLATED_TEST").is_some()
}

fn borrowed<'a>(environment: &'a [(&str, String)]) -> Vec<(&'a str, &'a str)> {
    let borrowed = environment.iter();
    borrowed
        .map(|(name, value)| (*name, value.as_str()))
        .collect()
}

fn printed(isolated: Isolated) -> String {
    match isolated {
        Isolated::Child => String::new(),
        Isolated::Parent { output } => {
            print_figures(&output);
            output
        }
    }
}

/// What every child is given, and then what the test names.
fn complete<'a>(environment: &[(&'a str, &str)]) -> Vec<(&'a str, String)> {
    let mut all: Vec<(&str, String)> = Vec::new();
    if !is_child() {
        let toolkit = Toolkit::locate_or_install().unwrap();
        let nvrtc = toolkit.nvrtc_library().display().to_string();
        let cache = himuon_toolkit::target_folder().join("cuda-test-cache");
        all.push(("HIMUON_NVRTC_PATH", nvrtc));
        all.push(("HIMUON_CACHE_DIR", cache.display().to_string()));
        all.push(("HIMUON_DETERMINISTIC", "1".to_owned()));
    }
    let more = environment.iter();
    all.extend(more.map(|(name, value)| (*name, (*value).to_owned())));
    all
}

fn print_figures(output: &str) {
    let figures = output
        .lines()
        .filter_map(|line| Some(&line[line.find("measured: ")?..]));
    figures.for_each(|line| println!("{line}"));
}
