//! Rules as ClassBench writes them.
//!
//! D. E. Taylor, J. S. Turner, "ClassBench: A Packet Classification Benchmark",
//! INFOCOM 2005. A line is a rule, and the first rule that matches wins:
//!
//! ```text
//! @sip/len  dip/len  splo : sphi  dplo : dphi  proto/mask  [flags/mask ...]
//! ```
//!
//! Fields are separated by tabs or spaces; addresses, lengths and ports are decimal,
//! protocol, flags and masks hexadecimal. Columns behind the protocol are checked for
//! their form and dropped: a lookup key has no TCP flags. Blank lines, `#` comments,
//! CRLF and a last line without its end are no errors.

use core::fmt;
use core::ops::RangeInclusive;
use std::io::BufRead;
use std::vec::Vec;

use crate::workloads::text::{Fault, Problem, Words, decimal, hexadecimal, read_lines};
use crate::workloads::{Flow, Prefix, ReadError};

/// A filter on the 5-tuple of IPv4 packets.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Rule {
    /// Where the packet comes from.
    pub source: Prefix,
    /// Where it goes to.
    pub destination: Prefix,
    /// Its source port.
    pub source_ports: RangeInclusive<u16>,
    /// Its destination port.
    pub destination_ports: RangeInclusive<u16>,
    /// Its protocol.
    pub protocol: Protocol,
}

impl Rule {
    /// Matches every packet.
    pub fn any() -> Self {
        let (every, ports) = (Prefix::default(), 0..=u16::MAX);
        Self {
            source: every,
            destination: every,
            source_ports: ports.clone(),
            destination_ports: ports,
            protocol: Protocol::ANY,
        }
    }

    /// True if packets of `flow` fall under it.
    pub fn matches(&self, flow: &Flow) -> bool {
        self.source.contains(flow.source)
            && self.destination.contains(flow.destination)
            && self.source_ports.contains(&flow.source_port)
            && self.destination_ports.contains(&flow.destination_port)
            && self.protocol.matches(flow.protocol)
    }
}

/// As one line of a rule file, without its end; the flags column matches all.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { source, destination, source_ports, destination_ports, protocol } = self;
        write!(f, "@{source}\t{destination}\t{} : {}\t", source_ports.start(), source_ports.end())?;
        write!(f, "{} : {}\t", destination_ports.start(), destination_ports.end())?;
        write!(f, "0x{:02x}/0x{:02X}\t0x0000/0x0000", protocol.value(), protocol.mask())
    }
}

/// Protocol numbers that equal a value wherever a mask is 1.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Protocol {
    value: u8,
    mask: u8,
}

impl Protocol {
    /// Every protocol.
    pub const ANY: Self = Self::new(0, 0);

    /// Bits of `value` outside `mask` are cleared.
    pub const fn new(value: u8, mask: u8) -> Self {
        Self { value: value & mask, mask }
    }

    /// One protocol.
    pub const fn exactly(number: u8) -> Self {
        Self::new(number, 0xff)
    }

    /// The bits a number must have where the mask is 1.
    pub const fn value(self) -> u8 {
        self.value
    }

    /// The bits that count.
    pub const fn mask(self) -> u8 {
        self.mask
    }

    /// The one protocol it matches, or `None` if it matches several.
    pub const fn number(self) -> Option<u8> {
        if self.mask == 0xff { Some(self.value) } else { None }
    }

    /// True if `number` is one of them.
    pub const fn matches(self, number: u8) -> bool {
        number & self.mask == self.value
    }
}

/// Reads a whole rule set, in order of precedence.
///
/// Address bits behind a prefix length are cleared. A file without rules is an empty
/// rule set.
///
/// # Errors
///
/// [`ReadError`] names the first line that is wrong; no rule is returned then.
///
/// ```
/// use fastpath::workloads::classbench;
///
/// let text = "# web traffic\n@10.0.0.0/8 0.0.0.0/0 0 : 65535 80 : 79 0x06/0xFF\n";
/// let error = classbench::read(text.as_bytes()).unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "line 2, column 33: the destination port range is 80 : 79; \
///      allowed is a low end not above the high end"
/// );
/// ```
pub fn read(input: impl BufRead) -> Result<Vec<Rule>, ReadError> {
    read_lines(input, Some(':'), |words, _| rule(words))
}

/// The index of the first rule that matches `flow`, by trying each: ground truth for
/// faster ways.
pub fn first_match(rules: &[Rule], flow: &Flow) -> Option<usize> {
    rules.iter().position(|rule| rule.matches(flow))
}

const SOURCE: &str = "`@`, an IPv4 address, `/` and a length from 0 to 32";
const DESTINATION: &str = "an IPv4 address, `/` and a length from 0 to 32";
const PROTOCOL: &str = "value and mask, 0x00/0x00 to 0xff/0xff";
const FLAGS: &str = "value and mask, 0x0000/0x0000 to 0xffff/0xffff";

fn rule(words: &mut Words<'_>) -> Result<Rule, Fault> {
    let rule = Rule {
        source: words.field("source", SOURCE, |word| Prefix::parse(word.strip_prefix('@')?))?,
        destination: words.field("destination", DESTINATION, Prefix::parse)?,
        source_ports: ports(words, "source port")?,
        destination_ports: ports(words, "destination port")?,
        protocol: words.field("protocol", PROTOCOL, |word| {
            let (value, mask) = value_and_mask(word)?;
            Some(Protocol::new(value.try_into().ok()?, mask.try_into().ok()?))
        })?,
    };
    while !words.is_empty() {
        words.field("flags column", FLAGS, value_and_mask)?;
    }
    Ok(rule)
}

fn ports(words: &mut Words<'_>, field: &'static str) -> Result<RangeInclusive<u16>, Fault> {
    const PORT: &str = "`low : high`, each from 0 to 65535";
    let column = words.column();
    let low = words.field(field, PORT, decimal)?;
    words.field(field, PORT, |word| (word == ":").then_some(()))?;
    let high = words.field(field, PORT, decimal)?;
    if low > high {
        return Err((column, Problem::Backwards { field, low, high }));
    }
    Ok(low..=high)
}

fn value_and_mask(word: &str) -> Option<(u16, u16)> {
    let (value, mask) = word.split_once('/')?;
    Some((hexadecimal(value)?, hexadecimal(mask)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::format;
    use std::string::{String, ToString};

    const LINE: &str = "@192.168.1.77/24\t10.0.0.1/32\t0 : 65535\t1550 : 1551\t0x06/0xFF\t0x0200/0x1200\t";

    fn refused(line: &str) -> String {
        let text = format!("{LINE}\n\n# comment\n{line}\n{LINE}\n");
        let message = read(text.as_bytes()).unwrap_err().to_string();
        message.strip_prefix("line 4, ").unwrap().to_string()
    }

    #[test]
    fn fields_are_read_and_host_bits_cleared() {
        let rules = read(LINE.as_bytes()).unwrap();
        let expected = Rule {
            source: Prefix::new(0xc0a8_0100, 24).unwrap(),
            destination: Prefix::new(0x0a00_0001, 32).unwrap(),
            source_ports: 0..=65535,
            destination_ports: 1550..=1551,
            protocol: Protocol::exactly(6),
        };
        assert_eq!(rules, [expected]);
        assert_eq!(rules[0].source.address(), 0xc0a8_0100);
    }

    #[test]
    fn line_ends_blank_lines_and_comments_do_not_matter() {
        let once = read(LINE.as_bytes()).unwrap();
        let tight = "@192.168.1.0/24 10.0.0.1/32 0:65535 1550:1551 0x06/0xff";
        for text in [
            format!("{LINE}\r\n{LINE}"),
            format!("\u{20}\t\r\n# {LINE}\n{LINE}# last\n   {LINE}\n\n\n"),
            format!("{tight}\r\n{tight}#"),
            format!("{tight} 0x0/0x0 0x1/0xffff\n{tight}\r\n"),
        ] {
            assert_eq!(read(text.as_bytes()).unwrap(), [once.clone(), once.clone()].concat(), "{text}");
        }
        assert_eq!(read(&b""[..]).unwrap(), []);
        assert_eq!(read(&b"\n#\n"[..]).unwrap(), []);
    }

    #[test]
    fn a_refusal_says_where_what_and_what_is_allowed() {
        let port = "allowed is `low : high`, each from 0 to 65535";
        for (line, message) in [
            (
                "1.0.0.0/8",
                "column 1: the source is `1.0.0.0/8`; allowed is `@`, an IPv4 address, `/` and a length from 0 to 32",
            ),
            (
                "@1.0.0.0/33 ",
                "column 1: the source is `@1.0.0.0/33`; allowed is `@`, an IPv4 address, `/` and a length from 0 to 32",
            ),
            (
                "@1.0.0.0/8 1.0.0.256/8",
                "column 12: the destination is `1.0.0.256/8`; allowed is an IPv4 address, `/` and a length from 0 to 32",
            ),
            (
                "@1.0.0.0/8 ::/8",
                "column 12: the destination is `:`; allowed is an IPv4 address, `/` and a length from 0 to 32",
            ),
            (
                "@1.0.0.0/+8",
                "column 1: the source is `@1.0.0.0/+8`; allowed is `@`, an IPv4 address, `/` and a length from 0 to 32",
            ),
            (
                "@1.0.0.0/8  ",
                "column 11: the destination is missing; it is an IPv4 address, `/` and a length from 0 to 32",
            ),
            ("@1.0.0.0/8 1.0.0.0/8 0 : 65536", &format!("column 26: the source port is `65536`; {port}")),
            ("@1.0.0.0/8 1.0.0.0/8 0 65535", &format!("column 24: the source port is `65535`; {port}")),
            ("@1.0.0.0/8 1.0.0.0/8 -1 : 5", &format!("column 22: the source port is `-1`; {port}")),
            (
                "@1.0.0.0/8 1.0.0.0/8 0 : 1 9 : 8",
                "column 28: the destination port range is 9 : 8; allowed is a low end not above the high end",
            ),
            (
                "@1.0.0.0/8 1.0.0.0/8 0 : 1 0 : 1 0x100/0xff",
                "column 34: the protocol is `0x100/0xff`; allowed is value and mask, 0x00/0x00 to 0xff/0xff",
            ),
            (
                "@1.0.0.0/8 1.0.0.0/8 0 : 1 0 : 1 6/0xff",
                "column 34: the protocol is `6/0xff`; allowed is value and mask, 0x00/0x00 to 0xff/0xff",
            ),
            (
                "@1.0.0.0/8 1.0.0.0/8 0 : 1 0 : 1 0x6/0xff drop",
                "column 43: the flags column is `drop`; allowed is value and mask, 0x0000/0x0000 to 0xffff/0xffff",
            ),
        ] {
            assert_eq!(refused(line), message, "{line}");
        }
        let error = read(&b"@1.0.0.0/8 \xfd7zXZ"[..]).unwrap_err();
        assert!(matches!(error, ReadError::Line { line: 1, column: 12, problem: Problem::NotText }));
    }

    #[test]
    fn a_failing_source_is_reported_with_its_line() {
        use std::io::{self, BufReader, Read};
        struct Broken(bool);
        impl Read for Broken {
            fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
                if core::mem::replace(&mut self.0, true) {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                to[..2].copy_from_slice(b"#\n");
                Ok(2)
            }
        }
        let error = read(BufReader::new(Broken(false))).unwrap_err();
        assert!(matches!(error, ReadError::Io { line: 2, .. }), "{error}");
    }

    fn any_rule() -> impl Strategy<Value = Rule> {
        let prefix =
            || (any::<u32>(), 0u8..=32).prop_map(|(address, len)| Prefix::new(address, len).unwrap());
        let ports = || any::<(u16, u16)>().prop_map(|(a, b)| a.min(b)..=a.max(b));
        let protocol = any::<(u8, u8)>().prop_map(|(value, mask)| Protocol::new(value, mask));
        (prefix(), prefix(), ports(), ports(), protocol).prop_map(
            |(source, destination, source_ports, destination_ports, protocol)| Rule {
                source,
                destination,
                source_ports,
                destination_ports,
                protocol,
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(rules in prop::collection::vec(any_rule(), 0..8)) {
            let text: String = rules.iter().map(|rule| format!("{rule}\n")).collect();
            prop_assert_eq!(read(text.as_bytes()).unwrap(), rules);
        }

        #[test]
        fn any_octets_are_read_or_refused(octets: Vec<u8>) {
            let _ = read(&octets[..]);
        }

        #[test]
        fn any_line_of_such_letters_is_read_or_refused(line in "[@0-9a-fx./: \t#-]{0,60}") {
            if let Ok(rules) = read(line.as_bytes()) {
                prop_assert!(rules.len() <= 1);
            }
        }
    }
}
