//! The example program `classify`, run in this process: against a scan of the files by code
//! of its own, and with files that are wrong.

#[allow(dead_code)]
#[path = "../examples/classify/main.rs"]
mod classify;
#[path = "support/oracle.rs"]
mod oracle;
#[path = "support/scratch.rs"]
mod scratch;

use std::ffi::OsString;
use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use scratch::Scratch;
use serde_json::Value;

/// Runs the program: what it prints, or what it says is wrong.
fn run(arguments: &[&str]) -> Result<String, String> {
    let arguments = ["classify"].iter().chain(arguments).map(OsString::from);
    let mut out = Vec::new();
    match classify::run(arguments, &mut out) {
        Ok(0) => Ok(String::from_utf8(out).unwrap()),
        Ok(status) => Err(format!("status {status}")),
        Err(error) => {
            assert_eq!(out, b"", "something was printed before it was refused");
            Err(error.to_string())
        }
    }
}

/// Runs it over rule files and a trace.
fn classify(rules: &[&str], trace: &str, more: &[&str]) -> Result<String, String> {
    let rules = rules.iter().flat_map(|file| ["--rules", file]);
    let arguments: Vec<&str> = rules.chain(["--trace", trace]).chain(more.iter().copied()).collect();
    run(&arguments)
}

/// Numbers that look random.
struct Draw(u64);

impl Draw {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 ^ self.0 >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 16
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.bits() % limit
    }
}

/// Low and high end of each field: source, destination, their ports, protocol.
type Ranges = [(u64, u64); 5];

/// The line of a rule file read by the book.
fn ranges(line: &str) -> Ranges {
    let words: Vec<&str> = line.split_whitespace().filter(|word| *word != ":").collect();
    let prefix = |word: &str| {
        let (address, len) = word.trim_start_matches('@').split_once('/').unwrap();
        let address = u64::from(address.parse::<Ipv4Addr>().unwrap().to_bits());
        let size = 1u64 << (32 - len.parse::<u32>().unwrap());
        let low = address - address % size;
        (low, low + size - 1)
    };
    let number = |at: usize| words[at].parse::<u64>().unwrap();
    let (protocol, mask) = words[6].split_once('/').unwrap();
    let hex = |word: &str| u64::from_str_radix(word.trim_start_matches("0x"), 16).unwrap();
    let protocol = match hex(mask) {
        0 => (0, 255),
        255 => (hex(protocol), hex(protocol)),
        mask => panic!("mask {mask:x}"),
    };
    [prefix(words[0]), prefix(words[1]), (number(2), number(3)), (number(4), number(5)), protocol]
}

/// The first rule that matches, by trying each.
fn first(rules: &[Ranges], key: &[u64; 5]) -> Option<usize> {
    let inside =
        |rule: &Ranges| rule.iter().zip(key).all(|((low, high), field)| low <= field && field <= high);
    rules.iter().position(inside)
}

/// A key for each line of a trace: points of rules, some of them moved a little.
fn keys(rules: &[Vec<Ranges>], count: usize, draw: &mut Draw) -> Vec<(usize, [u64; 5])> {
    let limits = [u64::from(u32::MAX), u64::from(u32::MAX), 65_535, 65_535, 255];
    let draws = (0..count).map(|_| {
        let slice = draw.below(rules.len() as u64) as usize;
        let rule = match rules[slice].len() as u64 {
            0 => limits.map(|limit| (0, limit)),
            rules_in_it => rules[slice][draw.below(rules_in_it) as usize],
        };
        let mut key = rule.map(|(low, high)| match draw.below(4) {
            0 => low,
            1 => high,
            _ => low + draw.below(high - low + 1),
        });
        if draw.below(3) == 0 {
            let field = draw.below(5) as usize;
            key[field] = (key[field] + draw.below(3)).min(limits[field]).saturating_sub(1);
        }
        (slice, key)
    });
    draws.collect()
}

fn trace_of(keys: &[(usize, [u64; 5])]) -> String {
    let line = |(slice, [a, b, c, d, e]): &(usize, [u64; 5])| format!("{slice} {a} {b} {c} {d} {e}\n");
    keys.iter().map(line).collect()
}

fn expected(rules: &[Vec<Ranges>], keys: &[(usize, [u64; 5])]) -> String {
    let answers = keys.iter().map(|(slice, key)| first(&rules[*slice], key));
    answers.map(|answer| answer.map_or_else(|| "-\n".into(), |number| format!("{number}\n"))).collect()
}

/// Rules of few addresses and ports, so that they overlap.
fn rule_file(count: usize, draw: &mut Draw) -> String {
    let mut text = String::new();
    for _ in 0..count {
        let mut prefix = || {
            let len = [0, 8, 15, 24, 28, 30, 32][draw.below(7) as usize];
            let address = 0x0a00_0000 | draw.below(2) << 16 | draw.below(32);
            format!("{}/{len}", Ipv4Addr::from_bits(address as u32))
        };
        let (from, to) = (prefix(), prefix());
        let mut ports = || match draw.below(4) {
            0 => "0 : 65535".into(),
            1 => "1024 : 65535".into(),
            2 => format!("{0} : {0}", draw.below(64)),
            _ => format!("{} : {}", draw.below(30), 30 + draw.below(2000)),
        };
        let ports = format!("{}\t{}", ports(), ports());
        let protocol = ["0x00/0x00", "0x06/0xFF", "0x11/0xFF"][draw.below(3) as usize];
        // The column of flags is not looked at.
        let flags = ["0x0000/0x0000", "0x1000/0x1000"][draw.below(2) as usize];
        text += &format!("@{from}\t{to}\t{ports}\t{protocol}\t{flags}\t\n");
    }
    text
}

fn xz(text: &str) -> Vec<u8> {
    let options = lzma_rust2::XzOptions::with_preset(1);
    let mut writer = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
    writer.write_all(text.as_bytes()).unwrap();
    writer.finish().unwrap()
}

fn gzip(text: &str) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    writer.write_all(text.as_bytes()).unwrap();
    writer.finish().unwrap()
}

#[test]
fn every_slice_answers_by_its_own_rules_whatever_its_file_is_packed_in() {
    let (scratch, mut draw) = (Scratch::new("classify", "slices"), Draw(1));
    let texts = [40, 200, 3, 0].map(|count| rule_file(count, &mut draw));
    let files = [
        scratch.write("plain.rules", &texts[0]),
        scratch.write("packed.rules.xz", xz(&texts[1])),
        // What it is packed in is seen in the file, not in its name.
        scratch.write("packed.rules", gzip(&texts[2])),
        scratch.write("empty.rules", "# nothing\n"),
    ];
    let rules: Vec<Vec<_>> = texts.iter().map(|text| text.lines().map(ranges).collect()).collect();
    let keys = keys(&rules, 4000, &mut draw);
    let files: Vec<_> = files.iter().map(String::as_str).collect();
    let expected = expected(&rules, &keys);
    assert!(expected.lines().filter(|answer| *answer == "-").count() > 400);
    let trace = scratch.write("trace.xz", xz(&trace_of(&keys)));
    assert_eq!(classify(&files, &trace, &[]).unwrap(), expected);
    // The same from 1 on, with comments, and the trace in another packing.
    let shifted = keys.iter().map(|(slice, key)| (slice + 1, *key)).collect::<Vec<_>>();
    let text = format!("# keys\r\n\r\n{}", trace_of(&shifted).replace('\n', " # key\r\n"));
    let trace = scratch.write("trace.gz", gzip(&text));
    assert_eq!(classify(&files, &trace, &["--first-slice", "1"]).unwrap(), expected);
}

#[test]
fn ports_count_whatever_the_protocol() {
    let scratch = Scratch::new("classify", "ports");
    let text =
        "@0.0.0.0/0 0.0.0.0/0 0 : 65535 8 : 8 0x01/0xff\n@0.0.0.0/0 0.0.0.0/0 7 : 9 0 : 65535 0x00/0x00\n";
    let rules = scratch.write("rules", text);
    let trace = scratch.write("trace", "0 1 2 7 8 1\n0 1 2 7 9 1\n0 1.2.3.4 2 10 9 1\n0 1 2 9 9 47\n");
    assert_eq!(classify(&[&rules], &trace, &[]).unwrap(), "0\n1\n-\n1\n");
}

#[test]
fn rule_sets_of_others_are_answered_as_a_scan_does() {
    let (scratch, mut draw) = (Scratch::new("classify", "sets"), Draw(2));
    let names = ["acl1", "acl2", "acl3", "acl5", "fw1", "fw2", "fw4", "fw5", "ipc1", "ipc2"];
    let (mut files, mut rules) = (Vec::new(), Vec::new());
    for name in names {
        let Some(file) = oracle::data(&format!("classbench/{name}_1k.rules.xz")) else { return };
        let mut text = String::new();
        let packed = std::io::BufReader::new(fs::File::open(&file).unwrap());
        lzma_rust2::XzReader::new(packed, false).read_to_string(&mut text).unwrap();
        rules.push(text.lines().map(ranges).collect::<Vec<_>>());
        files.push(file.to_str().unwrap().to_owned());
    }
    let keys = keys(&rules, 5000, &mut draw);
    let trace = scratch.write("trace", trace_of(&keys));
    let files: Vec<_> = files.iter().map(String::as_str).collect();
    assert_eq!(classify(&files, &trace, &[]).unwrap(), expected(&rules, &keys));
}

/// A prefix of a routing table: its addresses and the line it is on, from 0.
struct Prefix {
    v4: bool,
    low: u128,
    high: u128,
    line: usize,
}

/// The lines of a routing table read by the book.
fn prefixes(text: &str) -> Vec<Prefix> {
    let line = |(line, text): (usize, &str)| {
        let text = text.split('#').next().unwrap().trim();
        let (address, len) = text.split_whitespace().next()?.split_once('/').unwrap();
        let (v4, address, width) = match address.parse().unwrap() {
            IpAddr::V4(address) => (true, u128::from(address.to_bits()), 32),
            IpAddr::V6(address) => (false, address.to_bits(), 128),
        };
        let free = width - len.parse::<u32>().unwrap();
        let host = if free == 128 { u128::MAX } else { (1 << free) - 1 };
        Some(Prefix { v4, low: address & !host, high: address | host, line })
    };
    text.lines().enumerate().filter_map(line).collect()
}

/// The first of the longest prefixes that match, by trying each.
fn longest(prefixes: &[Prefix], address: IpAddr) -> String {
    let (v4, bits) = match address {
        IpAddr::V4(address) => (true, u128::from(address.to_bits())),
        IpAddr::V6(address) => (false, address.to_bits()),
    };
    let matching =
        prefixes.iter().filter(|prefix| prefix.v4 == v4 && prefix.low <= bits && bits <= prefix.high);
    let best = matching.min_by_key(|prefix| prefix.high - prefix.low);
    best.map_or_else(|| "-\n".into(), |prefix| format!("{}\n", prefix.line))
}

fn address_of(prefix: &Prefix, draw: &mut Draw) -> IpAddr {
    let host = (u128::from(draw.bits()) << 64 | u128::from(draw.bits())) & (prefix.high - prefix.low);
    match prefix.v4 {
        true => Ipv4Addr::from_bits((prefix.low | host) as u32).into(),
        false => Ipv6Addr::from_bits(prefix.low | host).into(),
    }
}

#[test]
fn routing_tables_of_both_versions_answer_with_the_line_of_the_longest_prefix() {
    let (scratch, mut draw) = (Scratch::new("classify", "routes"), Draw(3));
    let mut text = "# a table\n\n".to_owned();
    for number in 0..400 {
        // Few addresses, so that prefixes are nested and some stand there twice.
        let (bits, value) = (draw.below(64), draw.below(1000));
        text += &match draw.below(2) {
            0 => format!(
                "{}/{} {value}\n",
                Ipv4Addr::from_bits((10 << 24 | bits << 3) as u32),
                8 + draw.below(25)
            ),
            _ => {
                let address = 0x2001_0db8 << 96 | u128::from(bits) << 60 | u128::from(draw.below(4));
                format!("{}/{} # no value\n", Ipv6Addr::from_bits(address), 16 + draw.below(113))
            }
        };
        if number % 100 == 50 {
            text += "# half of it\n";
        }
    }
    let table = prefixes(&text);
    assert!(longest(&table, Ipv4Addr::new(11, 0, 0, 1).into()) == "-\n");
    let mut addresses: Vec<_> =
        (0..2000).map(|_| address_of(&table[draw.below(table.len() as u64) as usize], &mut draw)).collect();
    addresses.extend(["11.0.0.1", "::1"].map(|address| address.parse::<IpAddr>().unwrap()));
    let expected: String = addresses.iter().map(|&address| longest(&table, address)).collect();
    let file = scratch.write("table.gz", gzip(&text));
    let trace: String = addresses.iter().map(|address| format!("{address}\n")).collect();
    let alone = scratch.write("trace", &trace);
    assert_eq!(classify(&[&file], &alone, &[]).unwrap(), expected);

    // Beside rule sets it is the one that an address asks; with others it needs a number.
    let rules = scratch.write("rules", rule_file(3, &mut draw));
    assert_eq!(classify(&[&rules, &file], &alone, &[]).unwrap(), expected);
    let other = scratch.write("other", "0.0.0.0/0\n");
    let numbered = addresses.iter().map(|address| format!("1 {address}\n2 10.0.0.1\n")).collect::<String>();
    let numbered = classify(&[&rules, &file, &other], &scratch.write("numbered", numbered), &[]).unwrap();
    assert_eq!(numbered, expected.replace('\n', "\n0\n"));
    let refused = classify(&[&rules, &file, &other], &alone, &[]).unwrap_err();
    assert!(refused.contains("trace: line 1: both") && refused.contains("`slice address`"), "{refused}");
}

#[test]
fn the_table_of_the_internet_is_answered_as_a_scan_does() {
    let (scratch, mut draw) = (Scratch::new("classify", "internet"), Draw(4));
    let Some(file) = oracle::data("fib/internet-prefixes.txt.gz") else { return };
    let mut text = String::new();
    flate2::read::GzDecoder::new(fs::File::open(&file).unwrap()).read_to_string(&mut text).unwrap();
    let table = prefixes(&text);
    assert_eq!(table.len(), 1_062_046);
    let mut addresses: Vec<_> =
        (0..120).map(|_| address_of(&table[draw.below(table.len() as u64) as usize], &mut draw)).collect();
    addresses.extend((0..20).map(|_| IpAddr::from(Ipv4Addr::from_bits(draw.bits() as u32))));
    let expected: String = addresses.iter().map(|&address| longest(&table, address)).collect();
    let trace: String = addresses.iter().map(|address| format!("{address}\n")).collect();
    let trace = scratch.write("trace", trace);
    assert_eq!(classify(&[file.to_str().unwrap()], &trace, &[]).unwrap(), expected);
}

#[test]
fn a_file_that_is_wrong_is_refused_with_file_and_line() {
    let scratch = Scratch::new("classify", "refused");
    let rule = "@0.0.0.0/0 10.0.0.0/8 0 : 65535 80 : 80 0x06/0xff\n";
    let rules = scratch.write("rules", rule);
    let routes = scratch.write("routes", "10.0.0.0/8 1\n");
    let (key, address) = (scratch.write("key", "0 1 2 3 4 5\n"), scratch.write("address", "10.0.0.1\n"));

    for (text, message) in [
        (format!("{rule}\n{rule}@1.2.3.4/33"), "line 4, column 1: the source is `@1.2.3.4/33`; allowed is"),
        (
            format!("# rules\n{rule}@1.2.3.4/3 0.0.0.0/0 9 : 8"),
            "line 3, column 22: the source port range is 9 : 8",
        ),
        (format!("{rule}10.0.0.0/8\n"), "line 2, column 1: the source is `10.0.0.0/8`; allowed is"),
        (rule.replace('@', ""), "line 1, column 11: the value is `10.0.0.0/8`; allowed is a number"),
        (rule.replace('@', ""), "(it is read as a routing table: its first line has no `@`)"),
        ("10.0.0.0/8 1\n::/129 2\n".into(), "line 2, column 1: the prefix is `::/129`; allowed is"),
    ] {
        let file = scratch.write("bad", &text);
        let error = classify(&[&rules, &file], &key, &[]).unwrap_err();
        assert!(error.starts_with(&format!("{file}: line ")) && error.contains(message), "{text}: {error}");
    }
    for (text, message) in [
        ("0 1 2 3 4 5\n0 1 2 3 4 256\n", "line 2: the protocol is `256`; allowed is 0 to 255"),
        ("\n# key\n0 1 2 3 65536 5\n", "line 3: the destination port is `65536`; allowed is 0 to 65535"),
        (
            "0 4294967296 2 3 4 5",
            "line 1: the source is `4294967296`; allowed is 0 to 4294967295, or an IPv4",
        ),
        ("0 1 ::1 3 4 5", "line 1: the destination is `::1`; allowed is 0 to 4294967295, or an IPv4 address"),
        ("0 1 2 +3 4 5", "line 1: the source port is `+3`; allowed is 0 to 65535"),
        ("0 1 2 3 4", "line 1: there are 5 words; a rule set is asked by `slice sip dip sport dport proto`"),
        ("0 1 2 3 4 5 6", "line 1: there are 7 words"),
        ("2 1 2 3 4 5", "line 1: there is no slice 2: the rule files are slices 0 to 1 (--first-slice)"),
        ("1 1 2 3 4 5", "is a routing table; it is asked by `slice address`"),
        ("0 10.0.0.1", "is a rule set; a rule set is asked by `slice sip dip sport dport proto`"),
        ("10.0.0.256", "line 1: the address is `10.0.0.256`; allowed is an IPv4 or IPv6 address"),
        ("0 1 2 3 4 \u{fffd}\n", "line 1: the protocol is `\u{fffd}`; allowed is 0 to 255"),
    ] {
        let file = scratch.write("bad", text);
        let error = classify(&[&rules, &routes], &file, &[]).unwrap_err();
        assert!(error.starts_with(&format!("{file}: line ")) && error.contains(message), "{text}: {error}");
    }
    let octets = scratch.write("octets", b"0 1 2 3 4 5\n\xff\xfe\n");
    let error = classify(&[&rules], &octets, &[]).unwrap_err();
    assert_eq!(error, format!("{octets}: line 2: the line is not UTF-8 text"));
    let error = classify(&[&rules], &address, &[]).unwrap_err();
    assert!(error.contains("an address asks a routing table, and there is none"), "{error}");

    // Packed files that end too early, and files that are not there.
    for packed in [xz(&rule.repeat(5000)), gzip(&rule.repeat(5000))] {
        let file = scratch.write("cut", &packed[..packed.len() / 2]);
        let error = classify(&[&file], &key, &[]).unwrap_err();
        assert!(error.starts_with(&format!("{file}: line ")) && error.contains("cannot be read"), "{error}");
    }
    let missing = scratch.argument("missing");
    for (rules, trace) in [(&*missing, &*key), (&*rules, &*missing)] {
        let error = classify(&[rules], trace, &[]).unwrap_err();
        assert!(error.starts_with(&format!("{missing}: ")), "{error}");
    }
    assert_eq!(run(&["--rules", &rules]).unwrap_err(), "status 2", "a trace is missing");
}

#[test]
fn the_benchmark_is_one_object_with_its_figures() {
    let (scratch, mut draw) = (Scratch::new("classify", "bench"), Draw(5));
    let text = rule_file(100, &mut draw);
    let rules = [text.lines().map(ranges).collect::<Vec<_>>()];
    let (file, keys) = (scratch.write("rules", &text), keys(&rules, 2000, &mut draw));
    let routes = scratch.write("routes", "2001:db8::/32\n2001:db8:1::/48\n10.0.0.0/8\n");
    let trace = scratch.write("trace", format!("{}2001:db8:1::1\n10.0.0.1\n", trace_of(&keys)));
    let json = scratch.argument("figures.json");
    let out = classify(&[&file, &routes], &trace, &["--bench", "--json", &json]).unwrap();
    assert_eq!(out.lines().count(), 1, "{out}");
    let figures: Value = serde_json::from_str(&out).unwrap();
    let mut names: Vec<_> = figures.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    let mut expected = [
        "entries",
        "build_ms",
        "bytes",
        "ns_per_lookup_single",
        "ns_per_lookup_batch",
        "update_us_median",
        "update_us_p999",
    ];
    expected.sort_unstable();
    assert_eq!(names, expected);
    assert!(figures.as_object().unwrap().values().all(|figure| figure.as_f64().unwrap() > 0.0), "{out}");
    assert_eq!(figures["entries"], 103);
    assert!(figures["update_us_p999"].as_f64() >= figures["update_us_median"].as_f64());
    let written: Value = serde_json::from_str(&fs::read_to_string(&json).unwrap()).unwrap();
    assert_eq!(written, figures);
}

#[test]
fn an_explanation_says_of_each_rule_why() {
    let scratch = Scratch::new("classify", "explain");
    let rules = scratch.write(
        "rules",
        "@0.0.0.0/0 10.0.0.0/8 0 : 65535 80 : 90 0x06/0xff\n\
         @1.0.0.0/8 10.0.0.0/8 0 : 65535 85 : 85 0x06/0xff\n\
         @0.0.0.0/0 0.0.0.0/0 0 : 65535 0 : 65535 0x00/0x00\n",
    );
    let trace = scratch.write("trace", "0 1.2.3.4 10.0.0.1 5 85 6\n0 1.2.3.4 10.0.0.1 5 85 17\n");
    let json = scratch.argument("explained.json");
    let out = classify(&[&rules], &trace, &["--explain", "--json", &json]).unwrap();
    for line in [
        "  0 wins: the first that matches: 0.0.0.0/0 > 10.0.0.0/8, ports any > 80-90, protocol 6",
        "  1 loses: 0 stands before it: 1.0.0.0/8 > 10.0.0.0/8, ports any > 85, protocol 6",
        "  0 does not match: protocol 17 is not 6",
        "  2 wins: the first that matches: 0.0.0.0/0 > 0.0.0.0/0, ports any > any, protocol any",
        "slice 0: rule 1 never wins: rule 0 stands before it and matches all that it matches",
    ] {
        assert!(out.lines().any(|printed| printed == line), "{line} is missing in\n{out}");
    }
    let written: Value = serde_json::from_str(&fs::read_to_string(&json).unwrap()).unwrap();
    assert_eq!(written["answers"], serde_json::json!([0, 2]));
    assert_eq!(written["explanations"][1]["rules"][0]["outcome"], "wins");

    // Of many rules those that do not match are counted, by the first field that differs.
    let many = "@9.0.0.0/8 0.0.0.0/0 0 : 65535 0 : 65535 0x00/0x00\n".repeat(30)
        + &"@0.0.0.0/0 0.0.0.0/0 7 : 7 0 : 65535 0x11/0xff\n".repeat(20);
    let many = scratch.write("many", many);
    let out = classify(&[&many], &trace, &["--explain"]).unwrap();
    assert!(out.contains("  ruled out: 30 by source, 20 by source port\n"), "{out}");

    let routes = scratch.write("routes", "# lines count\n10.0.0.0/8\n10.1.0.0/16\n11.0.0.0/8\n::/0\n");
    let out = classify(&[&routes], &scratch.write("address", "10.1.2.3\n"), &["--explain"]).unwrap();
    for line in [
        "  2 wins: the longest that matches: 10.1.0.0/16",
        "  1 loses: 2 is longer: 10.0.0.0/8",
        "  ruled out: 1 by prefix",
    ] {
        assert!(out.lines().any(|printed| printed == line), "{line} is missing in\n{out}");
    }
}

#[test]
fn without_arguments_it_explains_what_comes_with_it() {
    let scratch = Scratch::new("classify", "embedded");
    let json = scratch.argument("report.json");
    let out = run(&["--json", &json]).unwrap();
    assert!(out.contains("slice 0: rule 5 never wins"), "{out}");
    let report: Value = serde_json::from_str(&fs::read_to_string(&json).unwrap()).unwrap();
    assert_eq!(report["answers"], serde_json::json!([2, 0, 4, null, 4, 2, 9]));
    assert_eq!(report["slices"][1]["kind"], "routing table");
    assert_eq!(report["bench"]["entries"], 18);
}
