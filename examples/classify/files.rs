//! Rule files: what they hold, compressed or not.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use fastpath::workloads::classbench::{self, Rule};
use fastpath::workloads::routes::{self, Route};

/// The rules of one slice.
#[derive(Debug)]
pub(crate) struct Set {
    /// What it was read from.
    pub(crate) file: String,
    pub(crate) rules: Rules,
}

/// What a file holds.
#[derive(Debug)]
pub(crate) enum Rules {
    /// Neither rules nor routes.
    None,
    /// Packet filters, numbered as they stand here.
    Filters(Vec<Rule>),
    /// Routes, numbered by their lines, in ascending order; no prefix twice.
    Routes(Vec<Route>),
}

impl Set {
    /// Reads a whole file.
    ///
    /// # Errors
    ///
    /// Text that names file and line.
    pub(crate) fn open(file: &Path) -> Result<Self, String> {
        Self::read(&file.display().to_string(), &read(file)?)
    }

    /// Reads the text of the file `file`.
    ///
    /// # Errors
    ///
    /// Text that names file and line.
    pub(crate) fn read(file: &str, text: &[u8]) -> Result<Self, String> {
        let first = text.split(|&octet| octet == b'\n').find_map(|line| {
            let line = line.trim_ascii_start();
            line.first().filter(|&&octet| octet != b'#')
        });
        let rules = match first {
            None => Rules::None,
            Some(b'@') => Rules::Filters(
                classbench::read(text)
                    .map_err(|error| format!("{file}: {error} (it is read as a rule set)"))?,
            ),
            Some(_) => {
                let mut routes = routes::read(text).map_err(|error| {
                    format!("{file}: {error} (it is read as a routing table: its first line has no `@`)")
                })?;
                let mut known = HashSet::new();
                routes.retain(|route| known.insert(route.prefix));
                Rules::Routes(routes)
            }
        };
        Ok(Self { file: file.into(), rules })
    }

    /// Rules and prefixes.
    pub(crate) fn len(&self) -> usize {
        match &self.rules {
            Rules::None => 0,
            Rules::Filters(rules) => rules.len(),
            Rules::Routes(routes) => routes.len(),
        }
    }

    pub(crate) fn kind(&self) -> &'static str {
        match &self.rules {
            Rules::None => "empty",
            Rules::Filters(_) => "rule set",
            Rules::Routes(_) => "routing table",
        }
    }
}

/// All of a file, decompressed if it is compressed, whatever its name.
pub(crate) fn read(file: &Path) -> Result<Vec<u8>, String> {
    const XZ: &[u8] = b"\xfd7zXZ\0";
    const GZIP: &[u8] = &[0x1f, 0x8b];
    let name = file.display();
    let failed = |error: io::Error| format!("{name}: {error}");
    let mut input = BufReader::new(File::open(file).map_err(failed)?);
    let mut head = Vec::new();
    input.by_ref().take(XZ.len() as u64).read_to_end(&mut head).map_err(failed)?;
    let input = io::Cursor::new(head.clone()).chain(input);
    let mut text = Vec::new();
    let read = match head {
        head if head == XZ => lzma_rust2::XzReader::new(input, true).read_to_end(&mut text),
        head if head.starts_with(GZIP) => flate2::read::MultiGzDecoder::new(input).read_to_end(&mut text),
        _ => { input }.read_to_end(&mut text),
    };
    read.map_err(|error| {
        let line = text.iter().filter(|&&octet| octet == b'\n').count() + 1;
        format!("{name}: line {line} cannot be read: {error}")
    })?;
    Ok(text)
}
