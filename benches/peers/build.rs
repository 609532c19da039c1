//! Compiles the C sides for the processor that `.cargo/config.toml` names for Rust: the
//! fused loop, bare deficit round robin, and the calls of DPDK's tables and scheduler where `pkg-config` finds libdpdk.

use std::process::Command;

fn main() {
    for side in ["fused", "drr"] {
        let file = format!("{side}.c");
        println!("cargo:rerun-if-changed={file}");
        compiler().file(file).compile(side);
    }

    let shims = ["eal.c", "dpdk.c", "sched.c"];
    shims.iter().for_each(|file| println!("cargo:rerun-if-changed={file}"));
    println!("cargo:rerun-if-env-changed=PKG_CONFIG_LIBDIR");
    println!("cargo:rustc-check-cfg=cfg(dpdk)");
    if let Some(flags) = dpdk() {
        let mut compiler = compiler();
        // The processor is the one named below, not the oldest that DPDK runs on.
        flags.iter().filter(|flag| !flag.starts_with("-march")).for_each(|flag| _ = compiler.flag(flag));
        compiler.files(shims).compile("peers_dpdk");
        println!("cargo:rustc-cfg=dpdk");
        let libraries: [(_, &[_]); 2] = [
            ("lookup", &["acl", "fib", "hash", "lpm", "rib", "eal"]),
            ("sched", &["sched", "mbuf", "mempool", "ring", "eal"]),
        ];
        for (program, libraries) in libraries {
            for library in libraries {
                println!("cargo:rustc-link-arg-bin={program}=-lrte_{library}");
            }
        }
    }
}

fn compiler() -> cc::Build {
    let mut compiler = cc::Build::new();
    compiler.opt_level(3).flag("-march=x86-64-v3").warnings(true);
    compiler
}

/// What DPDK's headers need of the compiler, if it is installed.
fn dpdk() -> Option<Vec<String>> {
    let output = Command::new("pkg-config").args(["--cflags", "libdpdk"]).output().ok()?;
    let flags = String::from_utf8(output.stdout).ok()?;
    // Warnings of its headers are its own.
    let flags = flags.split_whitespace().map(|flag| match flag.strip_prefix("-I") {
        Some(dir) => format!("-isystem{dir}"),
        None => flag.into(),
    });
    output.status.success().then(|| flags.collect())
}
