//! Traces: what is asked.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use fastpath::workloads::Flow;

use super::files::{self, Rules, Set};

/// What is asked of which slice, the first of which is 0 here.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Key {
    /// Which packet filter?
    Flow(usize, Flow),
    /// Which route?
    V4(usize, u32),
    /// Which route?
    V6(usize, u128),
}

impl Key {
    pub(crate) fn slice(self) -> usize {
        let (Self::Flow(slice, _) | Self::V4(slice, _) | Self::V6(slice, _)) = self;
        slice
    }
}

/// As a reader of headers would write it, without the slice.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flow(_, flow) => {
                let [from, to] = [flow.source, flow.destination].map(Ipv4Addr::from_bits);
                let Flow { source_port, destination_port, protocol, .. } = flow;
                write!(f, "{from}:{source_port} > {to}:{destination_port} protocol {protocol}")
            }
            Self::V4(_, address) => Ipv4Addr::from_bits(*address).fmt(f),
            Self::V6(_, address) => Ipv6Addr::from_bits(*address).fmt(f),
        }
    }
}

/// Reads a whole file.
///
/// # Errors
///
/// Text that names file and line.
pub(crate) fn open(file: &Path, sets: &[Set], first: u16) -> Result<Vec<Key>, String> {
    read(&file.display().to_string(), &files::read(file)?, sets, first)
}

/// Reads the text of the file `file`, whose slices begin with `first`.
///
/// # Errors
///
/// Text that names file and line.
pub(crate) fn read(file: &str, text: &[u8], sets: &[Set], first: u16) -> Result<Vec<Key>, String> {
    let mut keys = Vec::new();
    for (line, number) in text.split(|&octet| octet == b'\n').zip(1..) {
        let refuse = |problem| format!("{file}: line {number}: {problem}");
        let line = str::from_utf8(line).map_err(|_| refuse("the line is not UTF-8 text".into()))?;
        let line = line.split_once('#').map_or(line, |(line, _comment)| line);
        let words: Vec<&str> = line.split_whitespace().collect();
        if !words.is_empty() {
            keys.push(key(&words, sets, first).map_err(refuse)?);
        }
    }
    Ok(keys)
}

fn key(words: &[&str], sets: &[Set], first: u16) -> Result<Key, String> {
    match *words {
        [to] => route(only_table(sets)?, to),
        [slice, to] => {
            let slice = self::slice(slice, sets, first)?;
            match &sets[slice].rules {
                Rules::Filters(_) => Err(format!("{} is a rule set; {FLOW}", sets[slice].file)),
                Rules::Routes(_) | Rules::None => route(slice, to),
            }
        }
        [slice, source, destination, source_port, destination_port, protocol] => {
            let slice = self::slice(slice, sets, first)?;
            if let Rules::Routes(_) = sets[slice].rules {
                return Err(format!(
                    "{} is a routing table; it is asked by `slice address`",
                    sets[slice].file
                ));
            }
            Ok(Key::Flow(
                slice,
                Flow {
                    source: v4("source", source)?,
                    destination: v4("destination", destination)?,
                    source_port: decimal("source port", source_port)?,
                    destination_port: decimal("destination port", destination_port)?,
                    protocol: decimal("protocol", protocol)?,
                },
            ))
        }
        _ => Err(format!("there are {} words; {FLOW}, and a routing table by an address", words.len())),
    }
}

const FLOW: &str = "a rule set is asked by `slice sip dip sport dport proto`";

/// The routing table that an address alone asks.
fn only_table(sets: &[Set]) -> Result<usize, String> {
    let tables = || (0..).zip(sets).filter(|(_, set)| matches!(set.rules, Rules::Routes(_) | Rules::None));
    match (tables().next(), tables().nth(1)) {
        (Some((slice, _)), None) => Ok(slice),
        (None, _) => Err(format!("an address asks a routing table, and there is none; {FLOW}")),
        (Some((_, one)), Some((_, other))) => Err(format!(
            "both {} and {} may be meant; allowed is `slice address` where there are several routing tables",
            one.file, other.file
        )),
    }
}

fn slice(word: &str, sets: &[Set], first: u16) -> Result<usize, String> {
    let number: u16 = decimal("slice", word)?;
    let slice = number.checked_sub(first).map(usize::from).filter(|&slice| slice < sets.len());
    slice.ok_or_else(|| {
        let last = usize::from(first) + sets.len() - 1;
        format!("there is no slice {number}: the rule files are slices {first} to {last} (--first-slice)")
    })
}

fn route(slice: usize, word: &str) -> Result<Key, String> {
    let allowed = || format!("the address is `{word}`; allowed is an IPv4 or IPv6 address");
    match word.parse() {
        Ok(IpAddr::V4(address)) => Ok(Key::V4(slice, address.to_bits())),
        Ok(IpAddr::V6(address)) => Ok(Key::V6(slice, address.to_bits())),
        Err(_) => Ok(Key::V4(slice, number(word).ok_or_else(allowed)?)),
    }
}

fn v4(field: &str, word: &str) -> Result<u32, String> {
    let dotted = || word.parse().ok().map(Ipv4Addr::to_bits);
    let wrong = || format!("the {field} is `{word}`; allowed is 0 to {}, or an IPv4 address", u32::MAX);
    number(word).or_else(dotted).ok_or_else(wrong)
}

trait Number: std::str::FromStr {
    const MAX: u32;
}

impl Number for u8 {
    const MAX: u32 = Self::MAX as u32;
}

impl Number for u16 {
    const MAX: u32 = Self::MAX as u32;
}

impl Number for u32 {
    const MAX: u32 = Self::MAX;
}

fn decimal<N: Number>(field: &str, word: &str) -> Result<N, String> {
    number(word).ok_or_else(|| format!("the {field} is `{word}`; allowed is 0 to {}", N::MAX))
}

/// Decimal digits and nothing else.
fn number<N: Number>(word: &str) -> Option<N> {
    word.bytes().all(|octet| octet.is_ascii_digit()).then(|| word.parse().ok())?
}
