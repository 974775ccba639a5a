//! Gives the library the name that programs open. A process that has loaded it by path then finds it under
//! `libcuda.so`; the file keeps a name of its own, so that no search path can lead there by accident.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libcuda.so");
    }
}
