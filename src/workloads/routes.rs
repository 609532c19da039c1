//! Routing tables as text.
//!
//! A line is `prefix/len [value]`, IPv4 and IPv6 mixed as they come. The value is a
//! decimal number, a next hop say. Blank lines, `#` comments, CRLF and a last line
//! without its end are no errors.
//!
//! ```
//! use fastpath::workloads::routes::{self, RoutePrefix};
//!
//! let table = routes::read("10.0.0.0/8 7\n\n2001:db8::/32 # no value\n".as_bytes())?;
//! assert_eq!((table[0].value, table[1].value), (Some(7), None));
//! assert_eq!(table[1].line, 3);
//! assert!(matches!(table[1].prefix, RoutePrefix::V6(prefix) if prefix.len() == 32));
//! # Ok::<(), fastpath::workloads::ReadError>(())
//! ```

use core::fmt;
use std::io::BufRead;
use std::vec::Vec;

use crate::workloads::text::{Fault, Words, decimal, read_lines};
use crate::workloads::{Prefix, ReadError};

/// One line of a routing table.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Route {
    /// Where it leads to.
    pub prefix: RoutePrefix,
    /// What stands behind the prefix.
    pub value: Option<u32>,
    /// The line it stands on, from 1, blank lines and comments counted.
    pub line: usize,
}

/// A prefix of either IP version.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum RoutePrefix {
    /// IPv4.
    V4(Prefix<u32>),
    /// IPv6.
    V6(Prefix<u128>),
}

impl RoutePrefix {
    /// The prefix if it is one of IPv4.
    pub const fn v4(self) -> Option<Prefix<u32>> {
        match self {
            Self::V4(prefix) => Some(prefix),
            Self::V6(_) => None,
        }
    }

    /// The prefix if it is one of IPv6.
    pub const fn v6(self) -> Option<Prefix<u128>> {
        match self {
            Self::V4(_) => None,
            Self::V6(prefix) => Some(prefix),
        }
    }
}

impl fmt::Display for RoutePrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(prefix) => prefix.fmt(f),
            Self::V6(prefix) => prefix.fmt(f),
        }
    }
}

/// Reads a whole routing table, in the order of its lines.
///
/// Address bits behind a prefix length are cleared. A prefix that stands there twice
/// is returned twice.
///
/// # Errors
///
/// [`ReadError`] names the first line that is wrong; no route is returned then.
pub fn read(input: impl BufRead) -> Result<Vec<Route>, ReadError> {
    read_lines(input, None, route)
}

fn route(words: &mut Words<'_>, line: usize) -> Result<Route, Fault> {
    const PREFIX: &str = "an address, `/` and a length: IPv4 up to 32, IPv6 up to 128";
    let prefix = words.field("prefix", PREFIX, |word| {
        let v6 = || Prefix::parse(word).map(RoutePrefix::V6);
        Prefix::parse(word).map(RoutePrefix::V4).or_else(v6)
    })?;
    let value = match words.is_empty() {
        true => None,
        false => Some(words.field("value", "a number from 0 to 4294967295", decimal)?),
    };
    Ok(Route { prefix, value, line })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;
    use std::string::ToString;

    #[test]
    fn both_versions_are_read_and_host_bits_cleared() {
        let text = "# table\r\n0.0.0.0/0 1\r\n\t10.1.2.3/8\t4294967295\r\n::1/0\n2001:db8:ffff::/32 9#";
        let read = read(text.as_bytes()).unwrap();
        let shown: Vec<_> =
            read.iter().map(|r| (r.line, r.prefix.to_string(), r.value.unwrap_or(u32::MAX - 1))).collect();
        let expected = [
            (2, "0.0.0.0/0", 1),
            (3, "10.0.0.0/8", u32::MAX),
            (4, "::/0", u32::MAX - 1),
            (5, "2001:db8::/32", 9),
        ];
        assert_eq!(shown, expected.map(|(line, prefix, value)| (line, prefix.to_string(), value)));
        assert!(read[0].prefix.v4().is_some() && read[0].prefix.v6().is_none());
        assert!(read[2].prefix.v4().is_none() && read[2].prefix.v6().is_some());
    }

    #[test]
    fn a_refusal_says_where_what_and_what_is_allowed() {
        let prefix = "allowed is an address, `/` and a length: IPv4 up to 32, IPv6 up to 128";
        for (line, message) in [
            ("10.0.0.0", format!("column 1: the prefix is `10.0.0.0`; {prefix}")),
            ("10.0.0.0/33", format!("column 1: the prefix is `10.0.0.0/33`; {prefix}")),
            (" ::/129 5", format!("column 2: the prefix is `::/129`; {prefix}")),
            ("10.0.0/8", format!("column 1: the prefix is `10.0.0/8`; {prefix}")),
            (
                "10.0.0.0/8 4294967296",
                "column 12: the value is `4294967296`; allowed is a number from 0 to 4294967295".to_string(),
            ),
            (
                "10.0.0.0/8 1 via 2",
                "column 14: `via 2` follows the last field; allowed is the end of the line or a comment after `#`"
                    .to_string(),
            ),
        ] {
            let error = read(format!("::/0 1\n{line}").as_bytes()).unwrap_err();
            assert_eq!(error.to_string(), format!("line 2, {message}"));
        }
    }
}
