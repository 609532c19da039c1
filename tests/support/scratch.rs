//! Files of a test.

use std::fs;
use std::path::PathBuf;

/// A directory of its own for each test, removed at the end.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// `program` and `test` tell directories apart.
    pub(crate) fn new(program: &str, test: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("fastpath-{program}-{}-{test}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    /// Writes a file and returns its path.
    pub(crate) fn write(&self, name: &str, octets: impl AsRef<[u8]>) -> String {
        fs::write(self.path(name), octets).unwrap();
        self.argument(name)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The path as an argument of a program.
    pub(crate) fn argument(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
