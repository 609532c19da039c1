//! What the two files say.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::ops::RangeInclusive;
use std::path::Path;

use fastpath::queue::QueueConfig;

/// A queue of the file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Queue {
    pub(crate) number: u32,
    pub(crate) weight: u32,
    pub(crate) limit_packets: u32,
}

/// A packet that arrives.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Packet {
    /// Its line in the file, from 0, blank lines and comments counted.
    pub(crate) line: usize,
    pub(crate) time_ns: u64,
    /// Its queue's place among the queues.
    pub(crate) queue: usize,
    pub(crate) octets: u32,
}

/// Octets of the longest packet: 128 MB, so that the highest weight may earn what it has to.
pub(crate) const LONGEST: u32 = (1 << 27) - 1;

/// Why a file was refused. Nothing was scheduled.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    #[error("{file}: {source}")]
    Io { file: String, source: io::Error },
    #[error("{file}: line {line}: {problem}")]
    Line {
        file: String,
        /// From 1.
        line: usize,
        problem: Problem,
    },
    #[error("{file}: there is no queue in it; a line is `{QUEUE}`")]
    NoQueue { file: String },
}

/// What is wrong with a line.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum Problem {
    #[error("the line is not UTF-8 text")]
    Text,
    #[error("there are {found} words; a line is `{form}`")]
    Words { found: usize, form: &'static str },
    #[error("the {field} is `{found}`; allowed is {} to {}", allowed.start(), allowed.end())]
    Number { field: &'static str, found: String, allowed: RangeInclusive<u64> },
    #[error("queue {queue} stands in line {line} already")]
    Twice { queue: u32, line: usize },
    #[error("there is no queue {0}")]
    UnknownQueue(u32),
    #[error("the time is {time_ns} and the one before is {before_ns}: times may not go back")]
    Unsorted { time_ns: u64, before_ns: u64 },
}

const QUEUE: &str = "queue weight limit_packets";
const ARRIVAL: &str = "time_ns queue octets";

/// Reads a whole file.
///
/// # Errors
///
/// [`FileError::Io`].
pub(crate) fn read(file: &Path) -> Result<Vec<u8>, FileError> {
    fs::read(file).map_err(|source| FileError::Io { file: file.display().to_string(), source })
}

/// The queues of the text of `file`, one at least.
///
/// # Errors
///
/// [`FileError`], with the line.
pub(crate) fn queues(file: &str, text: &[u8]) -> Result<Vec<Queue>, FileError> {
    let (mut queues, mut known) = (Vec::new(), HashMap::new());
    each_line(file, text, QUEUE, |line, [number, weight, limit]| {
        let queue = Queue {
            number: word("queue", number, 0..=u32::MAX)?,
            weight: word("weight", weight, 1..=QueueConfig::MAX_WEIGHT)?,
            limit_packets: word("limit", limit, 0..=u32::MAX)?,
        };
        if let Some(line) = known.insert(queue.number, line + 1) {
            return Err(Problem::Twice { queue: queue.number, line });
        }
        queues.push(queue);
        Ok(())
    })?;
    if queues.is_empty() { Err(FileError::NoQueue { file: file.into() }) } else { Ok(queues) }
}

/// The packets of the text of `file`, in order of time.
///
/// # Errors
///
/// [`FileError`], with the line.
pub(crate) fn arrivals(file: &str, text: &[u8], queues: &[Queue]) -> Result<Vec<Packet>, FileError> {
    let places: HashMap<u32, usize> = queues.iter().map(|queue| queue.number).zip(0..).collect();
    let (mut packets, mut before_ns) = (Vec::new(), 0);
    each_line(file, text, ARRIVAL, |line, [time, queue, octets]| {
        let time_ns = word("time", time, 0..=u64::MAX)?;
        let number = word("queue", queue, 0..=u32::MAX)?;
        let octets = word("length", octets, 1..=LONGEST)?;
        let queue = *places.get(&number).ok_or(Problem::UnknownQueue(number))?;
        if time_ns < before_ns {
            return Err(Problem::Unsorted { time_ns, before_ns });
        }
        before_ns = time_ns;
        packets.push(Packet { line, time_ns, queue, octets });
        Ok(())
    })?;
    Ok(packets)
}

/// Hands the words of each line on, with its number from 0, but for blank ones and comments.
fn each_line<const N: usize>(
    file: &str, text: &[u8], form: &'static str,
    mut take: impl FnMut(usize, [&str; N]) -> Result<(), Problem>,
) -> Result<(), FileError> {
    for (number, line) in text.split(|&octet| octet == b'\n').enumerate() {
        let taken = words(line, form).and_then(|words| words.map_or(Ok(()), |words| take(number, words)));
        taken.map_err(|problem| FileError::Line { file: file.into(), line: number + 1, problem })?;
    }
    Ok(())
}

/// The words of a line that has some.
fn words<'a, const N: usize>(line: &'a [u8], form: &'static str) -> Result<Option<[&'a str; N]>, Problem> {
    let line = str::from_utf8(line).map_err(|_| Problem::Text)?;
    let line = line.split_once('#').map_or(line, |(line, _comment)| line);
    let (mut words, mut found) = ([""; N], 0);
    for word in line.split_ascii_whitespace() {
        if let Some(place) = words.get_mut(found) {
            *place = word;
        }
        found += 1;
    }
    match found {
        0 => Ok(None),
        found if found == N => Ok(Some(words)),
        found => Err(Problem::Words { found, form }),
    }
}

/// Decimal digits and nothing else.
fn word<N: Copy + Into<u64> + TryFrom<u64>>(
    field: &'static str, word: &str, allowed: RangeInclusive<N>,
) -> Result<N, Problem> {
    let allowed = (*allowed.start()).into()..=(*allowed.end()).into();
    let digits = word.bytes().all(|octet| octet.is_ascii_digit());
    let number: Option<u64> = digits.then(|| word.parse().ok()).flatten();
    let number = number.filter(|number| allowed.contains(number)).and_then(|number| number.try_into().ok());
    number.ok_or_else(|| Problem::Number { field, found: word.chars().take(40).collect(), allowed })
}
