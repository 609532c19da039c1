//! Compiles the C loop for the processor that `.cargo/config.toml` names for Rust.

fn main() {
    println!("cargo:rerun-if-changed=fused.c");
    cc::Build::new().file("fused.c").opt_level(3).flag("-march=x86-64-v3").warnings(true).compile("fused");
}
