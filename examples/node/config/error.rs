//! What is said of a configuration that is refused: where, which key, and what would be
//! right.

use std::net::IpAddr;
use std::ops::RangeInclusive;

/// What is wrong with a configuration, where, and what would be right.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// No TOML, or not of this form: an unknown key, a word in place of a number.
    #[error("{file}:{line}:{column}: {key}{message}")]
    Form { file: String, line: usize, column: usize, key: String, message: String },
    /// A value that is not allowed.
    #[error("{file}:{line}:{column}: {key} = {value}: {what}")]
    Value { file: String, line: usize, column: usize, key: &'static str, value: String, what: Box<What> },
}

/// Why a value is not allowed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum What {
    #[error("allowed is {} to {}", .0.start(), .0.end())]
    Range(RangeInclusive<u64>),
    #[error("allowed is {0}")]
    Form(&'static str),
    #[error("there is no such {kind}; allowed is {}", list(.known))]
    Unknown { kind: &'static str, known: Vec<String> },
    #[error("it belongs to slice `{owner}`; slice `{slice}` may name {}", list(.own))]
    Foreign { owner: String, slice: String, own: Vec<String> },
    #[error(
        "link `{link}` is on interface `{of_link}` and queue `{queue}` on `{of_queue}`; both must be on the same"
    )]
    Apart { link: String, of_link: String, queue: String, of_queue: String },
    #[error("the name is used already in line {0}; every {1} needs a name of its own")]
    Name(usize, &'static str),
    #[error(
        "port and address are taken by link `{link}` in line {line}; allowed is a port that is free on {address}"
    )]
    Port { link: String, line: usize, address: IpAddr },
    #[error("network or key, port and address are taken by link `{link}` in line {line}")]
    Network { link: String, line: usize },
    #[error(
        "the port is of another kind for link `{link}` in line {line}; a port of {address} is of one kind"
    )]
    Mixed { link: String, line: usize, address: IpAddr },
    #[error("interface `{0}` has no `address_v6`, and both ends are of one IP version")]
    Version(String),
    #[error("a link is of one kind; this one has `{0}` already")]
    Kinds(&'static str),
    #[error("a link with `{kind}` has no `{key}`")]
    Kind { kind: &'static str, key: &'static str },
    #[error(
        "{address} is the address of interface `{interface}` in line {line}; every interface needs its own"
    )]
    Address { address: IpAddr, interface: String, line: usize },
    #[error("together with the slices before it asks for {asked}, and [limits] has {limit}")]
    Limit { asked: u64, limit: u64 },
    #[error("interface `{interface}` has room for {limit} queues ([limits] queues)")]
    Queues { interface: String, limit: u64 },
    #[error("interface `{0}` has queues with limits only; give it `policies`, `levels` or `priority`")]
    Plain(String),
    #[error("interface `{0}` has no `priority`")]
    NoPriority(String),
    #[error("{0}")]
    Refused(String),
    #[error("needs both `link` and `queue`, or `action` alone")]
    Way,
    #[error("a slice with option `{option}` has no `{key}`")]
    Option { option: &'static str, key: &'static str },
    #[error("the same filter stands in line {0}; one of them would never match")]
    Twice(usize),
}

fn list(names: &[String]) -> String {
    match names {
        [] => "none, for there is none".into(),
        names => names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
    }
}
