//! Replays what fuzzing found: each file in `tests/regress/<target>/` is the input of a
//! check. For `pipeline`, `lookup_ops` and `manager` it is the fuzzer's file as it is, for `decap` a
//! frame, and for `ipv4` a packet behind four octets of circumstances.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

#[allow(dead_code, unreachable_pub, reason = "public for the fuzz targets, which use the rest")]
#[path = "../fuzz/src/lib.rs"]
mod inputs;

use inputs::{Answers, Done, Tally};

/// What came of each file, by its name.
fn replay<T>(target: &str, check: impl Fn(&[u8]) -> T) -> BTreeMap<String, T> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/regress").join(target);
    let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let result = |file: &Path| {
        println!("{}", file.display());
        (file.file_name().unwrap().to_str().unwrap().to_owned(), check(&fs::read(file).unwrap()))
    };
    files.iter().map(|file| result(file)).collect()
}

/// Files that stand for a case are still of that case; a find need not be named here.
fn assert_each<T: Copy + Eq + std::fmt::Debug>(results: &BTreeMap<String, T>, expected: &[(&str, T)]) {
    for (file, expected) in expected {
        assert_eq!(results.get(*file), Some(expected), "{file}");
    }
}

#[test]
fn decap() {
    // What is inside of a tunnel may be anything.
    replay("decap", |octets| inputs::tunnels(octets, &[], 0));
    let admitted = replay("decap", inputs::decap);
    let taken = ["outer_options", "plain", "tagged"].map(|file| (file, true));
    let refused = ["empty", "tagged_twice", "udp_of_seven_octets"].map(|file| (file, false));
    assert_each(&admitted, &[taken, refused].concat());
}

#[test]
fn ipv4() {
    let forwarded = replay("ipv4", inputs::ipv4);
    let sent = ["checksum_of_all_ones", "injected_at_the_end_of_life", "padded", "plain", "reserved_bit"];
    assert_each(&forwarded, &sent.map(|file| (file, true)));
    assert_each(&forwarded, &[("congestion_mark_on_not_ect", false)]);
}

#[test]
fn pipeline() {
    let tallies = replay("pipeline", inputs::pipeline);
    assert_each(&tallies, &[("empty", Tally::default())]);
    let some = tallies["some_of_each"];
    assert!(some.forwarded > 0 && some.dropped > 0 && some.slow_path > 0, "{some:?}");
    // As many as the queue holds.
    let zeros = tallies["zeros_overflow_a_queue"];
    assert!(zeros.forwarded == 8 && zeros.forwarded + zeros.dropped == zeros.received, "{zeros:?}");
}

#[test]
fn lookup_ops() {
    let done = replay("lookup_ops", inputs::lookup_ops);
    assert_each(&done, &[("empty", Done::default())]);
    assert!(done["routes_below_filters_deepen"].engines[3], "{:?}", done["routes_below_filters_deepen"]);
}

#[test]
fn manager() {
    let answers = replay("manager", inputs::manager);
    assert_each(&answers, &[("empty", Answers::default())]);
    assert!(answers["some_of_each"].sent > 0, "{:?}", answers["some_of_each"]);
}
