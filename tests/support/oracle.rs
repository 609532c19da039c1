//! What stands outside of the repository, and whether a test may do without it.

use std::path::{Path, PathBuf};

/// Whether a test that cannot ask its oracle fails.
pub(crate) fn required() -> bool {
    std::env::var_os("FASTPATH_REQUIRE_ORACLES").is_some_and(|value| value == "1")
}

/// Says why a test does not run, or fails if it must.
pub(crate) fn skip(what: &str) {
    assert!(!required(), "FASTPATH_REQUIRE_ORACLES: {what}");
    println!("skipped: {what}");
}

/// A file of the data beside the repository, or `None` and a word about it.
#[allow(dead_code, reason = "not all tests need data")]
pub(crate) fn data(path: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data").join(path);
    if path.exists() {
        return Some(path);
    }
    skip(&format!("{} is missing", path.display()));
    None
}
