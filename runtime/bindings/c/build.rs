//! Gives the dynamic library a name of its own: what is linked with it by its path looks for that name when it runs.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let system = std::env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    let argument = match system.as_str() {
        "macos" | "ios" => "-Wl,-install_name,@rpath/libhimuon_c.dylib",
        "linux" | "android" | "freebsd" => "-Wl,-soname,libhimuon_c.so",
        _ => return,
    };
    println!("cargo:rustc-cdylib-link-arg={argument}");
}
