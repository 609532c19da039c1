//! The arrows of the architecture, checked: a module imports modules of a lower level,
//! never of its own level or a higher one. Level 0 may share. Comments, strings and
//! what is compiled for tests only are no imports.

use std::fs;
use std::path::{Path, PathBuf};

const LEVELS: [&[&str]; 6] = [
    &["id", "key", "store", "exit", "packet", "slot", "time", "words", "wire", "arch", "epoch", "prefix"],
    &["io", "decap", "code_option", "lookup", "egress", "queue", "sram", "stats"],
    &["pipeline"],
    &["node"],
    &["manager", "runtime"],
    &["backend", "conformance", "workloads"],
];

/// The files that may say `unsafe`, as docs/architecture.md names them.
const UNSAFE: &[&str] = &[
    "src/arch.rs",
    "src/epoch/board.rs",
    "src/epoch/lent.rs",
    "src/epoch/model.rs",
    "src/io/sys/device.rs",
    "src/io/sys/messages.rs",
    "src/io/sys/option.rs",
    "src/io/sys/ring.rs",
    "src/lookup/forest/arena.rs",
    "src/lookup/forest/mixed.rs",
    "src/lookup/forest/simd.rs",
    "src/lookup/forest/wide.rs",
    "src/prefix/simd/ranges.rs",
    "src/prefix/simd/x86.rs",
    "src/prefix/simd.rs",
];

/// An import: who, of whom, in which line.
#[derive(Debug, Eq, PartialEq)]
struct Import {
    from: String,
    to: String,
    line: usize,
}

#[test]
fn imports_point_down() {
    let files = sources(Path::new("src"));
    assert!(files.len() > 20, "the sources were not found");
    let mut found = Vec::new();
    for path in files {
        for breach in breaches(&path, &fs::read_to_string(&path).unwrap()) {
            found.push(format!("{}:{}: {} -> {}", path.display(), breach.line, breach.from, breach.to));
        }
    }
    assert!(found.is_empty(), "imports that do not point down:\n{}", found.join("\n"));
}

#[test]
fn unsafe_stands_in_the_named_files_only() {
    let files = sources(Path::new("src"));
    let named = |path: &&PathBuf| {
        let tokens = tokens(&fs::read_to_string(path).unwrap());
        tokens.iter().any(|(token, _)| token == "unsafe" || token == "unsafe_code")
    };
    let found: Vec<_> = files.iter().filter(named).map(|path| path.to_str().unwrap()).collect();
    assert_eq!(found, UNSAFE);
    let page = fs::read_to_string("docs/architecture.md").unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `src/")?.split_once('`'));
    let named: Vec<_> = rows.map(|(file, _)| format!("src/{file}")).collect();
    assert_eq!(named, UNSAFE, "docs/architecture.md names others");
}

#[test]
fn the_check_catches_what_it_is_for() {
    let of = |path: &str, text: &str| -> Vec<(String, usize)> {
        breaches(Path::new(path), text).into_iter().map(|breach| (breach.to, breach.line)).collect()
    };
    let one = |to: &str, line| vec![(to.to_owned(), line)];
    // Each of these is one breach.
    assert_eq!(of("src/decap/mod.rs", "use crate::queue::Wdrr;"), one("queue", 1));
    assert_eq!(
        of("src/decap/udp.rs", "use crate::{\n    exit,\n    queue::{Wdrr, Queue},\n};"),
        one("queue", 3)
    );
    assert_eq!(of("src/decap/udp.rs", "use super::super::queue::Wdrr;"), one("queue", 1));
    assert_eq!(of("src/decap/mod.rs", "use super::{queue};"), one("queue", 1));
    assert_eq!(of("src/decap/udp.rs", "mod a { use super::super::super::queue::Wdrr; }"), one("queue", 1));
    assert_eq!(of("src/id.rs", "fn f() -> crate::pipeline::Drained {}"), one("pipeline", 1));
    assert_eq!(of("src/pipeline/mod.rs", "use crate::node::Slice;"), one("node", 1));
    assert_eq!(of("src/node/slice.rs", "use crate::backend;"), one("backend", 1));
    assert_eq!(of("src/backend/a.rs", "use crate::workloads;"), one("workloads", 1));
    assert_eq!(of("src/queue/mod.rs", "use crate::prelude::*;"), one("prelude", 1));
    assert_eq!(of("src/queue/mod.rs", "use crate::*;"), one("*", 1));
    assert_eq!(of("src/queue/mod.rs", "use crate as all;"), one("as", 1));
    assert_eq!(of("src/queue/mod.rs", "macro_rules! m { () => { $crate::decap::f() } }"), one("decap", 1));
    assert_eq!(of("src/queue/a.rs", "#[cfg(test)]\nmod tests;\nuse crate::decap;"), one("decap", 3));
    let after = "#[cfg(test)]\nmod tests { fn f() { if a { b } } }\nuse crate::decap;";
    assert_eq!(of("src/queue/a.rs", after), one("decap", 3));
    let any = "#[cfg(any(test, feature = \"std\"))]\nuse crate::decap;";
    assert_eq!(of("src/queue/a.rs", any), one("decap", 2));
    assert_eq!(of("src/queue/a.rs", "const A: (char, &str) = ('\"', \"\\\"\"); use crate::decap;").len(), 1);
    assert_eq!(of("src/queue/a.rs", "fn f<'a>(a: &'a crate::decap::Inner) {}"), one("decap", 1));
    // None of these is any.
    for fine in [
        "use crate::id::SliceId;\nuse crate::{exit::Exit, time};",
        "use super::{Queue, decap};",
        "/// [`f`](crate::decap::f)\n//! crate::decap\n// crate::decap",
        "/* crate::decap /* crate::io */ crate::decap */",
        "const A: &str = \"crate::decap\"; const B: &str = r#\"crate::\"decap\"#;",
        "#[cfg(test)]\nuse crate::decap;",
        "#[cfg(test)]\n#[allow(dead_code)]\nmod tests { use crate::decap; use crate::prelude::*; }",
        "#[cfg(all(test, feature = \"std\"))]\nmod tests { use crate::decap; }",
        "pub(crate) fn f() {}",
    ] {
        assert_eq!(of("src/queue/a.rs", fine), [], "{fine}");
    }
    assert_eq!(of("src/queue/tests.rs", "use crate::decap;"), [], "a file of tests");
    assert_eq!(of("src/lib.rs", "pub use crate::decap::Decap;"), [], "the root names them all");
    assert!(tokens("a(); unsafe { b() }").iter().any(|(token, _)| token == "unsafe"));
    assert!(!tokens("// unsafe\n\"unsafe\"").iter().any(|(token, _)| token == "unsafe"));
}

/// All Rust files below `folder`, in order.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// What the file at `path`, with `text` in it, imports and should not.
fn breaches(path: &Path, text: &str) -> Vec<Import> {
    let mut modules: Vec<_> = path.iter().skip(1).map(|part| part.to_str().unwrap()).collect();
    let file = modules.pop().unwrap();
    match file {
        "lib.rs" | "tests.rs" => return Vec::new(),
        "mod.rs" => (),
        _ => modules.push(file.trim_end_matches(".rs")),
    }
    let from = modules[0];
    let own = level(from).unwrap_or_else(|| panic!("`{from}` has no place in LEVELS"));
    let allowed = |to: &str| to == from || level(to).is_some_and(|level| level < own || own + level == 0);
    let tokens = without_tests(tokens(text));
    let mut imports = roots(&tokens, modules.len());
    imports.retain(|(to, _)| !allowed(to));
    imports.into_iter().map(|(to, line)| Import { from: from.to_owned(), to, line }).collect()
}

fn level(module: &str) -> Option<usize> {
    LEVELS.iter().position(|level| level.contains(&module))
}

type Token = (String, usize);

/// The modules of the crate's root that are named, in a file `depth` modules deep.
fn roots(tokens: &[Token], depth: usize) -> Vec<Token> {
    let is = |at: usize, what: &str| tokens.get(at).is_some_and(|(token, _)| token == what);
    let mut found = Vec::new();
    // Whether each open brace is that of a module.
    let mut braces = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let token = tokens[at].0.as_str();
        match token {
            "{" => braces.push(at >= 2 && is(at - 2, "mod")),
            "}" => drop(braces.pop()),
            "crate" | "super" => {
                let inside_visibility = at > 0 && is(at - 1, "(") && is(at + 1, ")");
                let deep = depth + braces.iter().filter(|module| **module).count();
                let mut up = if token == "crate" { deep } else { 1 };
                at += 1;
                while is(at, "::") && is(at + 1, "super") {
                    (up, at) = (up + 1, at + 2);
                }
                if up >= deep && !inside_visibility {
                    found.extend(first_names(tokens, if is(at, "::") { at + 1 } else { at }));
                }
                continue;
            }
            _ => (),
        }
        at += 1;
    }
    found
}

/// The name at `at`, or the first names of the group that begins there.
fn first_names(tokens: &[Token], at: usize) -> Vec<Token> {
    let Some(first) = tokens.get(at) else { return Vec::new() };
    if first.0 != "{" {
        return vec![first.clone()];
    }
    let (mut names, mut open, mut fresh) = (Vec::new(), 0, true);
    for token in &tokens[at..] {
        match token.0.as_str() {
            "{" => open += 1,
            "}" if open == 1 => break,
            "}" => open -= 1,
            "," if open == 1 => fresh = true,
            _ if open == 1 && fresh => {
                names.push(token.clone());
                fresh = false;
            }
            _ => (),
        }
    }
    names
}

/// Takes out each item behind a `#[cfg(test)]`, or a `cfg(all(test, ...))`.
fn without_tests(tokens: Vec<Token>) -> Vec<Token> {
    let starts = |at: usize, what: &[&str]| {
        tokens.len() >= at + what.len() && tokens[at..].iter().zip(what).all(|(token, what)| token.0 == *what)
    };
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if starts(at, &["#", "[", "cfg", "(", "test", ")"])
            || starts(at, &["#", "[", "cfg", "(", "all", "(", "test"])
        {
            // Attributes, then up to a semicolon or the end of the first block.
            let mut open = 0;
            while at < tokens.len() {
                let token = tokens[at].0.as_str();
                at += 1;
                match token {
                    "{" | "(" | "[" => open += 1,
                    "}" | ")" | "]" => open -= 1,
                    _ => (),
                }
                if open == 0 && matches!(token, ";" | "}") {
                    break;
                }
            }
            continue;
        }
        kept.push(tokens[at].clone());
        at += 1;
    }
    kept
}

/// The words and marks of a source file with their lines: no comments, no strings.
fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let is = |at: usize, what: char| chars.get(at) == Some(&what);
    let word = |at: usize| chars.get(at).is_some_and(|c| c.is_alphanumeric() || *c == '_');
    let (mut found, mut line, mut at) = (Vec::new(), 1, 0);
    while at < chars.len() {
        let start = at;
        at += 1;
        match chars[start] {
            '/' if is(at, '/') => {
                while at < chars.len() && !is(at, '\n') {
                    at += 1;
                }
            }
            '/' if is(at, '*') => {
                let mut open = 1;
                at += 1;
                while open > 0 && at < chars.len() {
                    match (chars[at], chars.get(at + 1)) {
                        ('/', Some('*')) => (open, at) = (open + 1, at + 2),
                        ('*', Some('/')) => (open, at) = (open - 1, at + 2),
                        _ => at += 1,
                    }
                }
            }
            '"' => at = end_of_string(&chars, at),
            // A character, or else a lifetime.
            '\'' if is(at, '\\') || is(at + 1, '\'') => {
                at += if is(at, '\\') { 2 } else { 1 };
                while at < chars.len() && !is(at, '\'') {
                    at += 1;
                }
                at += 1;
            }
            c if word(start) => {
                let hashes = chars[at..].iter().take_while(|c| **c == '#').count();
                if c == 'r' && is(at + hashes, '"') {
                    at += hashes + 1;
                    while at < chars.len()
                        && !(chars[at] == '"' && (1..=hashes).all(|hash| is(at + hash, '#')))
                    {
                        at += 1;
                    }
                    at += 1 + hashes;
                } else {
                    while word(at) {
                        at += 1;
                    }
                    found.push((chars[start..at].iter().collect(), line));
                }
            }
            ':' if is(at, ':') => {
                at += 1;
                found.push(("::".to_owned(), line));
            }
            c if c.is_whitespace() => (),
            c => found.push((c.to_string(), line)),
        }
        at = at.min(chars.len());
        line += chars[start..at].iter().filter(|c| **c == '\n').count();
    }
    found
}

fn end_of_string(chars: &[char], mut at: usize) -> usize {
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}
