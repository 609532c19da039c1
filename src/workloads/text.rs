//! Text line by line: what every reader here tolerates, and how it says what is wrong.

use std::io::{self, BufRead};
use std::string::String;
use std::vec::Vec;

/// Why a rule set or routing table was refused. Nothing of it was loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// A line says what it may not say.
    #[error("line {line}, column {column}: {problem}")]
    Line {
        /// The line, from 1, blank lines and comments counted.
        line: usize,
        /// The octet of the line at which it goes wrong, from 1.
        column: usize,
        /// What is wrong, and what is allowed.
        problem: Problem,
    },
    /// The source of the text failed.
    #[error("line {line} cannot be read: {source}")]
    Io {
        /// The line that was to be read, from 1.
        line: usize,
        /// What the source said.
        source: io::Error,
    },
}

/// What is wrong with a line, and what is allowed instead.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The line ends too early.
    #[error("the {field} is missing; it is {allowed}")]
    Missing {
        /// What the line lacks.
        field: &'static str,
        /// How it is written.
        allowed: &'static str,
    },
    /// A field has another form, or a number in it is out of range.
    #[error("the {field} is `{found}`; allowed is {allowed}")]
    Field {
        /// The name of the field.
        field: &'static str,
        /// What stands there, at most 40 characters of it.
        found: String,
        /// How it is written.
        allowed: &'static str,
    },
    /// A range ends before it starts.
    #[error("the {field} range is {low} : {high}; allowed is a low end not above the high end")]
    Backwards {
        /// The name of the field.
        field: &'static str,
        /// Where it starts.
        low: u16,
        /// Where it ends.
        high: u16,
    },
    /// Something follows the last field.
    #[error("`{found}` follows the last field; allowed is the end of the line or a comment after `#`")]
    Trailing {
        /// What stands there, at most 40 characters of it.
        found: String,
    },
    /// The line is not text.
    #[error("the line is not UTF-8 text: a compressed file is to be decompressed first")]
    NotText,
}

/// A problem and the column it is at.
pub(super) type Fault = (usize, Problem);

/// What `one` makes of each line that is neither blank nor comment, with its number.
///
/// Lines end with LF or CRLF, the last one perhaps with neither. `mark` is a character
/// that is a word of its own even without space around it.
pub(super) fn read_lines<T>(
    mut input: impl BufRead, mark: Option<char>,
    mut one: impl FnMut(&mut Words<'_>, usize) -> Result<T, Fault>,
) -> Result<Vec<T>, ReadError> {
    let (mut all, mut octets) = (Vec::new(), Vec::new());
    for line in 1.. {
        octets.clear();
        let read = input.read_until(b'\n', &mut octets);
        if read.map_err(|source| ReadError::Io { line, source })? == 0 {
            break;
        }
        let refuse = |(column, problem)| ReadError::Line { line, column, problem };
        let text = core::str::from_utf8(&octets)
            .map_err(|error| refuse((error.valid_up_to() + 1, Problem::NotText)))?;
        let text = text.split_once('#').map_or(text, |(text, _comment)| text).trim_end();
        if text.is_empty() {
            continue;
        }
        let mut words = Words { rest: text, column: 1, mark };
        let item = one(&mut words, line).map_err(refuse)?;
        words.end().map_err(refuse)?;
        all.push(item);
    }
    Ok(all)
}

/// The words of one line.
#[derive(Debug)]
pub(super) struct Words<'a> {
    rest: &'a str,
    column: usize,
    mark: Option<char>,
}

impl<'a> Words<'a> {
    /// Whether the line has no more words.
    pub(super) fn is_empty(&self) -> bool {
        self.rest.trim_start().is_empty()
    }

    /// Where the next word starts.
    pub(super) fn column(&self) -> usize {
        self.column + (self.rest.len() - self.rest.trim_start().len())
    }

    /// The next word as `parse` reads it.
    pub(super) fn field<T>(
        &mut self, field: &'static str, allowed: &'static str, parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, Fault> {
        let column = self.column();
        let word = self.take().ok_or((column, Problem::Missing { field, allowed }))?;
        parse(word).ok_or_else(|| (column, Problem::Field { field, found: shortened(word), allowed }))
    }

    fn take(&mut self) -> Option<&'a str> {
        self.column = self.column();
        self.rest = self.rest.trim_start();
        let ends = |c: char| c.is_whitespace() || Some(c) == self.mark;
        let end = match self.rest.find(ends) {
            None => self.rest.len(),
            // The mark itself.
            Some(0) => self.rest.chars().next().map_or(0, char::len_utf8),
            Some(end) => end,
        };
        let (word, rest) = self.rest.split_at_checked(end)?;
        (self.rest, self.column) = (rest, self.column + end);
        (!word.is_empty()).then_some(word)
    }

    fn end(&self) -> Result<(), Fault> {
        let found = shortened(self.rest.trim_start());
        if found.is_empty() { Ok(()) } else { Err((self.column(), Problem::Trailing { found })) }
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(40).collect()
}

/// A number of decimal digits and nothing else.
pub(super) fn decimal<N: core::str::FromStr>(text: &str) -> Option<N> {
    text.bytes().all(|c| c.is_ascii_digit()).then(|| text.parse().ok())?
}

/// `0x` and hexadecimal digits, up to `u16`.
pub(super) fn hexadecimal(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"))?;
    digits.bytes().all(|c| c.is_ascii_hexdigit()).then(|| u16::from_str_radix(digits, 16).ok())?
}
