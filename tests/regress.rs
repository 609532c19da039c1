//! Replays what fuzzing found: each file in `tests/regress/<target>/` is the input of a
//! check. For `pipeline` it is the fuzzer's file as it is, for `decap` a frame, and for
//! `ipv4` a packet behind four octets of circumstances.

use std::fs;
use std::path::Path;

#[allow(dead_code, unreachable_pub, reason = "public for the fuzz targets, which use the rest")]
#[path = "../fuzz/src/lib.rs"]
mod inputs;

fn replay(target: &str, check: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/regress").join(target);
    let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    for file in files {
        println!("{}", file.display());
        check(&fs::read(&file).unwrap());
    }
}

#[test]
fn decap() {
    replay("decap", inputs::decap);
}

#[test]
fn ipv4() {
    replay("ipv4", inputs::ipv4);
}

#[test]
fn pipeline() {
    replay("pipeline", |octets| {
        inputs::pipeline(octets);
    });
}
