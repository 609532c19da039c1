//! The example program `node`, run in this process: over traffic made in memory, over
//! captures of real hosts, over packets of other projects, and with bad configurations.

#[allow(dead_code)]
#[path = "../examples/node/main.rs"]
mod node;
#[path = "support/oracle.rs"]
mod oracle;
#[path = "support/scratch.rs"]
mod scratch;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::Command;

use etherparse::{NetSlice, SlicedPacket};
use fastpath::io::pcap::{Reader, Writer};
use fastpath::slot::Layer;
use fastpath::time::Nanos;
use scratch::Scratch;
use serde_json::Value;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Runs the program: its exit status and output, or what it says is wrong.
fn run(arguments: &[&str]) -> Result<(u8, String), String> {
    let arguments = ["node"].iter().chain(arguments).map(OsString::from);
    let mut out = Vec::new();
    let status = node::run(arguments, &mut out).map_err(|error| error.to_string())?;
    Ok((status, String::from_utf8(out).unwrap()))
}

fn json(file: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap()
}

/// The figures of one slice.
fn slice<'a>(report: &'a Value, name: &str) -> &'a Value {
    report["slices"].as_array().unwrap().iter().find(|slice| slice["slice"] == name).unwrap()
}

fn exit(report: &Value, slice: &str, exit: &str) -> u64 {
    let reasons = report["reasons"].as_array().unwrap();
    let found = reasons.iter().find(|reason| reason["slice"] == slice && reason["exit"] == exit);
    found.map_or(0, |reason| reason["packets"].as_u64().unwrap())
}

#[test]
fn the_embedded_traffic_is_accounted_for_and_leaves_as_it_should() {
    let scratch = Scratch::new("node", "embedded");
    let file = scratch.path("figures.json");
    let (status, out) = run(&["--packets", "200000", "--json", text(&file)]).unwrap();
    assert_eq!(status, 0, "{out}");
    assert!(out.contains("accounting exact: received 200,000 + injected "), "{out}");
    let report = json(&file);
    assert_eq!(report["frames"], 200_000);
    assert!(slice(&report, "red")["injected"].as_u64().unwrap() > 100, "expired packets are answered");
    let made = report["made"].as_array().unwrap();
    assert!(!made.is_empty());
    for made in made {
        assert!(made["frames"].as_u64().unwrap() > 100, "{made}");
        assert_eq!(made["frames"], made["counted"], "{made}");
    }
    let queues = report["queues"].as_array().unwrap();
    let north: Vec<_> = queues.iter().filter(|queue| queue["interface"] == "north").collect();
    assert!(north.len() > 1, "queues that share a link: {queues:?}");
    for queue in north {
        let (asked, got) =
            (queue["weight_share"].as_f64().unwrap(), queue["measured_share"].as_f64().unwrap());
        assert!((asked - got).abs() < 0.01, "{queue}");
    }
    // Every drop of a full queue was found its queue.
    for name in ["red", "blue", "green"] {
        let queues = queues.iter().filter(|queue| queue["slice"] == name);
        let dropped: u64 = queues.map(|queue| queue["dropped"].as_u64().unwrap()).sum();
        assert_eq!(dropped, exit(&report, name, "drop:queue_full"), "{name}");
        assert!(dropped > 0, "{name}: there is more traffic than its share");
    }
}

#[test]
fn the_embedded_traffic_replayed_from_captures_gives_the_same_figures() {
    let scratch = Scratch::new("node", "replayed");
    let (live, again) = (scratch.path("live.json"), scratch.path("again.json"));
    let (live_out, again_out) = (scratch.path("live"), scratch.path("again"));
    run(&["--packets", "30000", "--seed", "7", "--json", text(&live), "--out", text(&live_out)]).unwrap();
    let (_, said) =
        run(&["--write-demo", text(&scratch.path("demo")), "--packets", "30000", "--seed", "7"]).unwrap();
    // The line that it prints is the line that replays it.
    let line = said.lines().last().unwrap();
    let mut arguments: Vec<&str> = line.split(' ').skip(1).collect();
    arguments.extend(["--json", text(&again), "--out", text(&again_out)]);
    let (status, out) = run(&arguments).unwrap();
    assert_eq!(status, 0, "{out}");
    let (live, again) = (json(&live), json(&again));
    for figures in ["frames", "processed", "slices", "reasons", "queues", "exact"] {
        assert_eq!(live[figures], again[figures], "{figures}");
    }
    for (one, other) in captures(&live_out).into_iter().zip(captures(&again_out)) {
        assert_eq!(one.file_name(), other.file_name());
        assert!(fs::read(&one).unwrap() == fs::read(&other).unwrap(), "{} differs", one.display());
    }
    if tshark_is_there("the_embedded_traffic_replayed_from_captures_gives_the_same_figures") {
        let ports =
            [("red-north", 20_001), ("red-south", 20_002), ("blue-north", 20_003), ("blue-south", 20_004)];
        for (link, port) in ports {
            let file = live_out.join(format!("{link}.pcap"));
            assert!(frames(&file) > 100);
            sound(&file, port, "ip");
        }
        sound(&live_out.join("green-north.pcap"), 20_005, "data");
    }
}

#[test]
fn a_count_that_is_off_by_one_is_told() {
    use node::feed::Source;
    let plan = node::config::Plan::read("node.toml", node::config::EMBEDDED).unwrap();
    let mut demo = node::demo::Demo::new(&plan, 1000, 1).unwrap();
    let wishes = node::run::Wishes { drain: false, trace: None, progress: &|_| {} };
    let mut finished = node::run::run(&plan, &mut demo, &mut node::run::Nowhere, &wishes).unwrap();
    let counted = demo.counted();
    assert!(node::report::Report::new(&plan, &finished, &counted).exact);
    let mut wrong = counted.clone();
    wrong.frames += 1;
    assert!(!node::report::Report::new(&plan, &finished, &wrong).exact);
    finished.tally[1].sent -= 1;
    let report = node::report::Report::new(&plan, &finished, &counted);
    assert!(report.tables().contains("accounting WRONG") && report.differences[0].starts_with("red, sent"));
}

/// Two routers that share a node: the same addresses, other ways, other MTUs.
const TWO_ROUTERS: &str = r#"
[[interface]]
name = "one"
address = "192.0.2.1"
rate = 1_000_000_000
ethernet = { source = "02:00:00:00:00:01", next_hop = "02:00:00:00:00:02", vlan = 9 }
[[interface]]
name = "two"
address = "192.0.2.129"
rate = 1_000_000_000

[[slice]]
name = "wide"
option = "ipv4"
address = "10.255.0.1"
slow_path = { burst = 1000, waiting = 1000 }
[[slice.link]]
name = "wide-one"
interface = "one"
port = 4001
peer = "198.51.100.1:5001"
mtu = 1500
[[slice.link]]
name = "wide-two"
interface = "two"
port = 4002
peer = "198.51.100.2:5002"
mtu = 1500
dscp_model = "uniform"
[[slice.queue]]
name = "wide-q1"
interface = "one"
weight = 1
limit_packets = 1000
[[slice.queue]]
name = "wide-q2"
interface = "two"
weight = 1
limit_packets = 1000
[[slice.route]]
prefix = "10.1.0.0/16"
link = "wide-one"
queue = "wide-q1"
[[slice.route]]
prefix = "10.2.0.0/16"
link = "wide-two"
queue = "wide-q2"

[[slice]]
name = "narrow"
option = "ipv4"
slow_path = { burst = 1000, waiting = 1000 }
[[slice.link]]
name = "narrow-one"
interface = "one"
port = 4003
peer = "198.51.100.3:5003"
mtu = 1400
[[slice.queue]]
name = "narrow-q1"
interface = "one"
weight = 3
limit_packets = 1000
[[slice.route]]
prefix = "10.0.0.0/8"
link = "narrow-one"
queue = "narrow-q1"
"#;

/// What becomes of the IPv4 packets of a capture at a router with this MTU, as another
/// library reads them.
fn expected(capture: &Path, mtu: u16) -> BTreeMap<&'static str, u64> {
    let mut reader = Reader::new(BufReader::new(File::open(capture).unwrap())).unwrap();
    let mut counts = BTreeMap::new();
    while let Some(frame) = reader.next_frame() {
        let frame = frame.unwrap();
        let packet = SlicedPacket::from_ethernet(frame.octets).unwrap();
        let Some(NetSlice::Ipv4(ip)) = packet.net else { continue };
        let header = ip.header();
        let what = match header {
            header if !header.options().is_empty() => "slow_path:options",
            header if header.ttl() <= 1 => "slow_path:expired",
            header if header.total_len() > mtu => "slow_path:too_big",
            header if header.destination()[..2] == [10, 1] => "to 10.1",
            _ => "to 10.2",
        };
        *counts.entry(what).or_default() += 1;
    }
    counts
}

#[test]
fn two_routers_forward_what_real_hosts_sent() {
    let scratch = Scratch::new("node", "hosts");
    let capture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures/hosts.pcap");
    let (config, out) = (scratch.write("node.toml", TWO_ROUTERS), scratch.path("out"));
    let file = scratch.path("figures.json");
    let inputs = ["wide-one", "narrow-one"].map(|link| format!("{link}={}", capture.display()));
    let arguments = ["--config", &config, "--inner", "--out", text(&out), "--json", text(&file)];
    let inputs = ["--in", &inputs[0], "--in", &inputs[1], "--trace", "3"];
    let (status, said) = run(&[&arguments[..], &inputs].concat()).unwrap();
    assert_eq!(status, 0, "{said}");
    assert!(
        said.contains("packet 3 at ") && said.contains("decap   slice ") && said.contains("queue   "),
        "{said}"
    );
    let report = json(&file);

    let (wide, narrow) = (expected(&capture, 1500), expected(&capture, 1400));
    let of = |counts: &BTreeMap<&str, u64>, what| counts.get(what).copied().unwrap_or_default();
    for (name, counts) in [("wide", &wide), ("narrow", &narrow)] {
        assert_eq!(slice(&report, name)["received"], 209, "IPv4 packets, as tests/captures/README.md counts");
        for what in ["slow_path:options", "slow_path:expired", "slow_path:too_big"] {
            assert_eq!(exit(&report, name, what), of(counts, what), "{name} {what}");
        }
        assert_eq!(
            (&slice(&report, name)["dropped"], &slice(&report, name)["waiting"]),
            (&0.into(), &0.into())
        );
    }
    assert_eq!((of(&wide, "slow_path:options"), of(&wide, "slow_path:too_big")), (4, 0));
    // Who sent a packet that expired is told, by way of the slice's routes; options are seen to.
    let (answers, options) = (of(&wide, "slow_path:expired"), of(&wide, "slow_path:options"));
    let sent = answers + options;
    assert_eq!(slice(&report, "wide")["injected"], sent);
    assert!(answers > 0 && options > 0);
    assert_eq!(slice(&report, "narrow")["injected"], 0, "a slice without address sends none");

    let (to_1, to_2) = (frames(&out.join("wide-one.pcap")), frames(&out.join("wide-two.pcap")));
    assert_eq!(to_1 + to_2, of(&wide, "to 10.1") + of(&wide, "to 10.2") + sent);
    assert!(to_1 >= of(&wide, "to 10.1") && to_2 >= of(&wide, "to 10.2"));
    assert_eq!(frames(&out.join("narrow-one.pcap")), of(&narrow, "to 10.1") + of(&narrow, "to 10.2"));

    if tshark_is_there("two_routers_forward_what_real_hosts_sent") {
        for (link, port) in [("wide-one", 4001), ("wide-two", 4002), ("narrow-one", 4003)] {
            sound(&out.join(format!("{link}.pcap")), port, "ip");
        }
    }
}

#[test]
fn packets_of_another_project_are_accounted_for() {
    let test = "packets_of_another_project_are_accounted_for";
    let packets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/packets");
    let Ok(entries) = fs::read_dir(&packets) else {
        skip(test, "../shared/data/packets is not there");
        return;
    };
    let scratch = Scratch::new("node", "packets");
    let config = scratch.write("node.toml", TWO_ROUTERS);
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    // Single packets as hexadecimal text: all of them in one capture.
    let single = scratch.path("single.pcap");
    let mut writer = Writer::new(File::create(&single).unwrap(), Layer::Ethernet).unwrap();
    let mut captures = Vec::new();
    for file in files {
        match file.extension().and_then(|it| it.to_str()) {
            Some("dat") => {
                let digits: String =
                    fs::read_to_string(&file).unwrap().chars().filter(char::is_ascii_hexdigit).collect();
                let octets = |at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
                let octets: Vec<u8> = (0..digits.len() / 2).map(|at| octets(at * 2)).collect();
                writer.write(Nanos(writer.frames() * 1000), &octets).unwrap();
            }
            Some("pcap" | "pcapng") => captures.push(file),
            _ => {}
        }
    }
    assert!(writer.frames() > 50 && captures.len() > 20);
    writer.finish().unwrap();
    captures.push(single);

    let (out, figures) = (scratch.path("out"), scratch.path("figures.json"));
    let tshark = tshark_is_there(test);
    let (mut received, mut refused) = (0, 0);
    let all = captures.len();
    for capture in captures {
        let input = format!("wide-one={}", capture.display());
        let arguments = ["--config", &config, "--in", &input, "--inner", "--out", text(&out)];
        let (status, said) = match run(&[&arguments[..], &["--json", text(&figures)]].concat()) {
            // A capture of something else than Ethernet or IP.
            Err(error) => {
                assert!(error.contains("link type"), "{}: {error}", capture.display());
                refused += 1;
                continue;
            }
            Ok(ran) => ran,
        };
        assert_eq!(status, 0, "{}: {said}", capture.display());
        let report = json(&figures);
        received += report["frames"].as_u64().unwrap();
        assert_eq!(slice(&report, "wide")["received"], report["frames"], "{}", capture.display());
        if tshark {
            // What is inside was not always sound; what is outside is.
            for (link, port) in [("wide-one", 4001), ("wide-two", 4002)] {
                let file = out.join(format!("{link}.pcap"));
                if frames(&file) > 0 {
                    sound(&file, port, "data");
                }
            }
        }
    }
    assert!(received > 100, "{received}");
    assert!(refused * 4 < all, "{refused} of {all} captures are of another link type");
}

/// The embedded configuration with one thing changed, and what must be said of it: the
/// key, and what is allowed. The line is where the change is.
const BAD: &[(&str, &str, &str, &str)] = &[
    ("rate = 700_000_000 ", "rate = 0 ", "rate = 0", "allowed is 1000 to 1000000000000"),
    ("rate = 700_000_000 ", "rate = \"fast\" ", "rate: ", "expected i64"),
    ("rate = 700_000_000 ", "speed = 5 ", "`speed`", "expected one of"),
    ("rate = 700_000_000 ", "rate = ", "rate: ", "string values must be quoted"),
    ("weight = 4", "weight = 0", "weight = 0", "allowed is 1 to 65536"),
    ("weight = 4", "weight = -1", "weight = -1", "allowed is 1 to 65536"),
    ("weight = 4", "weight = 65537", "weight = 65537", "allowed is 1 to 65536"),
    ("limit_packets = 64", "limit_packets = 0", "limit_packets = 0", "allowed is 1 to 4194304"),
    (
        "queue = \"red-gold\"",
        "queue = \"gold\"",
        "queue = \"gold\"",
        "allowed is `red-all`, `red-bulk`, `red-gold`",
    ),
    (
        "queue = \"red-gold\"",
        "queue = \"green-label\"",
        "queue = \"green-label\"",
        "belongs to slice `green`",
    ),
    (
        "link = \"blue-north\"",
        "link = \"red-north\"",
        "link = \"red-north\"",
        "slice `blue` may name `blue-north`",
    ),
    ("queue = \"blue-voice\"", "queue = \"blue-data\"", "queue = \"blue-data\"", "both must be on the same"),
    (
        "link = \"red-north\"\nqueue = \"red-gold\"",
        "link = \"red-north\"",
        "prefix = ",
        "needs both `link` and `queue`",
    ),
    ("port = 20002", "port = 70000", "port = 70000", "allowed is 1 to 65535"),
    ("port = 20003", "port = 20001", "port = 20001", "taken by link `red-north`"),
    (
        "interface = \"south\"\nport = 20002",
        "interface = \"west\"\nport = 20002",
        "interface = \"west\"",
        "allowed is `north`, `south`",
    ),
    (
        "address = \"10.0.1.1\"",
        "address = \"10.0.0.1\"",
        "address = \"10.0.0.1\"",
        "the address of interface `north`",
    ),
    ("address = \"10.0.1.1\"", "address = \"10.0.1\"", "address: ", "invalid IPv4 address"),
    ("address = \"10.0.1.1\"", "address = \"224.0.0.1\"", "address = \"224.0.0.1\"", "a unicast address"),
    ("peer = \"192.0.2.1:30001\"", "peer = \"192.0.2.1\"", "peer = \"192.0.2.1\"", "and a port"),
    ("peer = \"192.0.2.1:30001\"", "peer = \"[fd00::1]:1\"", "peer = \"[fd00::1]:1\"", "no `address_v6`"),
    ("peer = \"192.0.2.1:30001\"", "peer = \"224.0.0.1:1\"", "peer = \"224.0.0.1:1\"", "one host"),
    ("port = 20001\n", "", "name = \"red-north\"", "with a `port`"),
    ("port = 20001\n", "port = 20001\nvxlan = { vni = 1 }\n", "vxlan: ", "missing field `mac`"),
    (
        "port = 20001\n",
        "vxlan = { vni = 16777216, mac = \"02:00:00:00:00:01\" }\n",
        "vni = 16777216",
        "allowed is 0 to 16777215",
    ),
    (
        "port = 20001\n",
        "vxlan = { vni = 1, mac = \"03:00:00:00:00:01\" }\n",
        "mac = \"03:00:00:00:00:01\"",
        "one station",
    ),
    (
        "port = 20001\n",
        "geneve = { vni = 1, peer_mac = \"02:00:00:00:00:01\" }\n",
        "peer_mac = ",
        "need `mac`",
    ),
    (
        "port = 20001\n",
        "port = 20001\ngre = { key = 1 }\n",
        "port = 20001",
        "a link with `gre` has no `port`",
    ),
    ("port = 20001\n", "gre = { key = 1 }\n", "peer = \"192.0.2.1:30001\"", "the address of one host"),
    ("port = 20001\n", "gre = { key = -1 }\n", "key = -1", "allowed is 0 to 4294967295"),
    ("port = 20001\n", "geneve = { vni = 1 }\ngre = {}\n", "gre = {}", "this one has `geneve` already"),
    (
        "port = 20001\n",
        "port = 20003\ngeneve = { vni = 1 }\n",
        "port = 20003",
        "of another kind for link `red-north`",
    ),
    (
        "port = 20001\n",
        "port = 20001\nzero_udp_checksum = true\n",
        "zero_udp_checksum = true",
        "UDP over IPv6 only",
    ),
    (
        "address = \"10.0.1.1\"",
        "address = \"10.0.1.1\"\nsource_ports = 16",
        "source_ports = 16",
        "where `device` is \"udp\"",
    ),
    (
        "port = 20001\n",
        "port = 20001\naddress_v6 = \"fd00::1\"\n",
        "address_v6 = \"fd00::1\"",
        "which have a `mac`",
    ),
    (
        "address = \"10.0.1.1\"",
        "address = \"10.0.1.1\"\naddress_v6 = \"ff02::1\"",
        "address_v6 = \"ff02::1\"",
        "a unicast IPv6 address",
    ),
    (
        "next_hop = \"02:00:00:00:00:fe\"",
        "next_hop = \"02:00:00:00:00:fe\", service_vlan = 7",
        "service_vlan = 7",
        "a `vlan` behind it",
    ),
    ("peer = \"192.0.2.1:30001\"", "peer = \"192.0.2.1:0\"", "peer = \"192.0.2.1:0\"", "not 0"),
    ("source = \"02:00:00:00:00:01\"", "source = \"02:00\"", "source = \"02:00\"", "six octets"),
    ("mtu = 1400", "mtu = 65508", "mtu = 65508", "allowed is 1 to 65507"),
    ("sram_words = 64 ", "sram_words = 1025 ", "sram_words = 1025", "allowed is 0 to 1024"),
    (
        "name = \"blue\"\noption = \"ipv4\"",
        "name = \"blue\"\nsram_words = 1000\noption = \"ipv4\"",
        "sram_words = 64",
        "asks for 1064, and [limits] has 1024",
    ),
    (
        "name = \"blue\"\noption = \"ipv4\"",
        "name = \"blue\"\nfilters = 2\noption = \"ipv4\"",
        "filters = 2",
        "allowed is 6 to 4096",
    ),
    (
        "name = \"blue-voice\"",
        "name = \"red-gold\"",
        "name = \"red-gold\"",
        "the name is used already in line",
    ),
    ("name = \"blue-voice\"", "name = \"../voice\"", "name = \"../voice\"", "letters, digits"),
    (
        "prefix = \"10.3.0.0/16\"",
        "prefix = \"10.3.0.1/16\"",
        "prefix = \"10.3.0.1/16\"",
        "no bit set behind it",
    ),
    (
        "prefix = \"10.3.0.0/16\"",
        "prefix = \"10.2.0.0/16\"",
        "prefix = \"10.2.0.0/16\"",
        "the same filter stands in line",
    ),
    ("rank = 10\n", "rank = 65536\n", "rank = 65536", "allowed is 0 to 65535"),
    (
        "protocol = \"udp\"\ndestination_port = \"5060-5061\"",
        "protocol = \"voip\"\ndestination_port = \"5060-5061\"",
        "protocol = \"voip\"",
        "\"tcp\"",
    ),
    ("\"5060-5061\"", "\"5061-5060\"", "destination_port = \"5061-5060\"", "a range"),
    ("action = \"drop\"", "action = \"rejected\"", "action: ", "`slow_path`, `reject`"),
    ("lines = 40 ", "lines = 129 ", "lines = 129", "allowed is 1 to 128"),
    ("lines = 40 ", "lines = 0 ", "lines = 0", "allowed is 1 to 128"),
    ("option = \"label\"", "option = \"ipv4\"", "label = 16", "a slice with option `ipv4` has no `label`"),
    ("slices = 8", "slices = 2", "name = \"green\"", "asks for 3, and [limits] has 2"),
    ("slices = 8", "slices = 0", "slices = 0", "allowed is 1 to 4096"),
    ("results = 256", "results = 2", "name = \"red\"", "and [limits] has 2"),
    ("results = 256", "ports = 3", "name = \"blue-south\"", "and [limits] has 3"),
    ("results = 256", "queues = 2", "name = \"blue-voice\"", "room for 2 queues"),
    ("results = 256", "longest_frame = 100", "longest_frame = 100", "allowed is 576 to 65600"),
    ("per_second = 20_000", "per_second = 0", "per_second = 0", "allowed is 1 to"),
    ("weight = 4", "weight = 4\ncodel = {}", "codel = {}", "interface `north` has queues with limits only"),
    (
        "weight = 4",
        "weight = 4\nred = { min = 5, max = 9 }",
        "red = { min = 5, max = 9 }",
        "give it `policies`",
    ),
    ("weight = 4", "weight = 4\npriority = true", "priority = true", "interface `north` has no `priority`"),
    ("overhead = 24 ", "levels = 3 ", "levels = 3", "allowed is 1 to 2"),
    ("overhead = 24 ", "priority = { queues = 0, rate = 5000 } ", "queues = 0", "allowed is 1 to 255"),
    ("overhead = 24 ", "priority = { queues = 1, rate = 5 } ", "rate = 5", "allowed is 1000 to"),
    (
        "overhead = 24 ",
        "priority = { queues = 1, rate = 5000, burst = 9 } ",
        "burst = 9",
        "allowed is 2048 to",
    ),
    ("address = \"10.255.0.1\"", "police = { rate = 5000 }", "police: ", "missing field `burst`"),
    (
        "address = \"10.255.0.1\"",
        "police = { rate = 5000, burst = 0 }",
        "burst = 0",
        "every packet would be red",
    ),
    (
        "address = \"10.255.0.1\"",
        "police = { rate = 5000, burst = 9, excess = 1, peak_rate = 9000 }",
        "rate = 5000",
        "with both `peak_rate` and `peak_burst`",
    ),
    ("dscp_model = \"uniform\"", "police = { rate = 5, burst = 9 }", "rate = 5", "allowed is 1000 to"),
];

/// The embedded configuration with all that queues and policers can be: what is checked is
/// what a node takes.
#[test]
fn a_configuration_of_all_that_queues_can_be_runs() {
    let scratch = Scratch::new("node", "queues");
    let mut text = node::config::EMBEDDED.to_owned();
    for (plain, more) in [
        ("overhead = 24 ", "overhead = 24\nlevels = 2\npriority = { queues = 8, rate = 100_000_000 }\n#"),
        ("weight = 4", "weight = 4\npriority = true"),
        (
            "name = \"red-bulk\"",
            "name = \"red-bulk\"\nred = { min = 10, max = 50, percent = 20, yellow = [5, 20] }",
        ),
        (
            "name = \"blue-voice\"",
            "name = \"blue-voice\"\ncodel = { target_us = 2000, interval_us = 50_000 }",
        ),
        (
            "address = \"10.255.0.1\"",
            "address = \"10.255.0.1\"\npolice = { rate = 90_000_000, burst = 9000, excess = 9000 }\nshare = [{ interface = \"north\", weight = 3 }]",
        ),
        (
            "dscp_model = \"uniform\"",
            "police = { rate = 1_000_000, burst = 3000, peak_rate = 5_000_000, peak_burst = 6000 }",
        ),
    ] {
        assert!(text.contains(plain), "{plain:?} is not there");
        text = text.replacen(plain, more, 1);
    }
    let demo = scratch.path("demo");
    let (_, said) = run(&["--write-demo", self::text(&demo), "--packets", "20000"]).unwrap();
    // The same traffic, by the other configuration.
    let mut arguments: Vec<&str> = said.lines().last().unwrap().split(' ').skip(1).collect();
    let at = arguments.iter().position(|argument| *argument == "--config").unwrap();
    fs::write(arguments[at + 1], &text).unwrap();
    let file = scratch.path("report.json");
    arguments.extend(["--json", self::text(&file)]);
    let (status, out) = run(&arguments).unwrap();
    assert_eq!(status, 0, "{out}");
    let report = json(&file);
    assert!(exit(&report, "red", "drop:policed") > 0, "{report:#}");
}

#[test]
fn bad_configurations_are_refused_with_line_and_key() {
    let scratch = Scratch::new("node", "bad");
    for (good, bad, key, allowed) in BAD {
        assert_eq!(node::config::EMBEDDED.matches(good).count().min(1), 1, "{good:?} is not there");
        let changed = node::config::EMBEDDED.replacen(good, bad, 1);
        let config = scratch.write("node.toml", &changed);
        let error = run(&["--config", &config]).unwrap_err();
        let (place, message) = error.strip_prefix(&format!("{}:", config)).unwrap().split_once(": ").unwrap();
        let line: usize = place.split_once(':').unwrap().0.parse().unwrap();
        let name = key.trim_matches(['`', ' ', ':']);
        let blamed = changed.lines().nth(line - 1).unwrap();
        assert!(blamed.contains(name), "{bad:?}: line {line} is {blamed:?}: {error}");
        assert!(message.contains(key) && message.contains(allowed), "{bad:?}: {error}");
    }
}

#[test]
fn wrong_arguments_and_files_are_named() {
    let scratch = Scratch::new("node", "arguments");
    let error = run(&["--in", "nowhere=x.pcap"]).unwrap_err();
    assert!(error.contains("no such link; allowed is `red-north`"), "{error}");
    let error = run(&["--in", "red-north=missing.pcap"]).unwrap_err();
    assert!(error.starts_with("missing.pcap: "), "{error}");
    let foreign = scratch.write("foreign.pcap", "#!/bin/sh\n");
    let error = run(&["--in", &format!("red-north={}", foreign)]).unwrap_err();
    assert!(error.contains("this is no capture: the file begins with [23, 21, 2f, 62]"), "{error}");
    assert_eq!(run(&["--unknown"]), Ok((2, String::new())));

    // What is read is not overwritten.
    let capture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures/hosts.pcap");
    let input = scratch.path("red-north.pcap");
    fs::copy(&capture, &input).unwrap();
    let error = run(&["--in", &format!("red-south={}", input.display()), "--out", text(&scratch.path("."))])
        .unwrap_err();
    assert!(error.ends_with("red-north.pcap is read and would be overwritten"), "{error}");
    assert_eq!(fs::read(&input).unwrap(), fs::read(&capture).unwrap());

    // A capture that is cut off: what was before is in the account, and the status says so.
    let mut octets = fs::read(capture).unwrap();
    octets.truncate(octets.len() - 5);
    let cut = scratch.path("cut.pcap");
    fs::write(&cut, octets).unwrap();
    let (status, out) = run(&["--in", &format!("red-north={}", cut.display()), "--inner"]).unwrap();
    assert_eq!(status, 2);
    assert!(out.contains("the file is cut off: it ends ") && out.contains("behind 210 frames"), "{out}");
    assert!(out.contains("accounting exact: received 20"), "{out}");
}

#[test]
fn the_documented_example_is_the_embedded_one_and_sound() {
    let documented = include_str!("../docs/node_config.md");
    assert!(documented.contains(&format!("```toml\n{}```\n", node::config::EMBEDDED)));
    let scratch = Scratch::new("node", "documented");
    let config = scratch.write("node.toml", node::config::EMBEDDED);
    let (status, out) = run(&["--config", &config]).unwrap();
    assert!(status == 0 && out.contains("is sound: 3 slices, 5 links"), "{out}");
}

fn captures(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert_eq!(files.len(), 5);
    files
}

fn frames(capture: &Path) -> u64 {
    let mut reader = Reader::new(BufReader::new(File::open(capture).unwrap())).unwrap();
    while let Some(frame) = reader.next_frame() {
        frame.unwrap();
    }
    reader.position().frames
}

fn tshark_is_there(test: &str) -> bool {
    let there = Command::new("tshark").arg("--version").output().is_ok_and(|it| it.status.success());
    if !there {
        skip(test, "tshark is not installed");
    }
    there
}

fn skip(test: &str, why: &str) {
    oracle::skip(&format!("{test}, in part: {why}"));
}

/// tshark finds nothing malformed and no bad checksum; what is behind UDP port `port`
/// is read as `inside`.
fn sound(capture: &Path, port: u16, inside: &str) {
    let found = unsound(capture, port, inside);
    assert!(found.is_empty(), "{}:\n{found}", capture.display());
}

/// What tshark finds wrong, a line for each packet.
fn unsound(capture: &Path, port: u16, inside: &str) -> String {
    let wrong = "_ws.malformed || ip.checksum.status == 0 || udp.checksum.status == 0 \
                 || tcp.checksum.status == 0 || icmp.checksum.status == 0";
    let mut tshark = Command::new("tshark");
    tshark.args(["-n", "-r", text(capture), "-d", &format!("udp.port=={port},{inside}")]);
    // Payloads made in memory are none of the protocols whose ports they happen to have.
    for port in [9, 23, 520, 5060] {
        tshark.args(["-d", &format!("udp.port=={port},data")]);
    }
    for protocol in ["ip", "udp", "tcp"] {
        tshark.args(["-o", &format!("{protocol}.check_checksum:TRUE")]);
    }
    let output = tshark.args(["-Y", wrong]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", capture.display());
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn the_oracle_sees_what_is_wrong_inside_and_outside() {
    if !tshark_is_there("the_oracle_sees_what_is_wrong_inside_and_outside") {
        return;
    }
    let scratch = Scratch::new("node", "oracle");
    let (config, out) = (scratch.write("node.toml", TWO_ROUTERS), scratch.path("out"));
    let capture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures/hosts.pcap");
    let input = format!("wide-one={}", capture.display());
    run(&["--config", &config, "--in", &input, "--inner", "--out", text(&out)]).unwrap();
    let file = out.join("wide-two.pcap");
    let sound = fs::read(&file).unwrap();
    assert_eq!(unsound(&file, 4002, "ip"), "");
    // Of the first frame: an outer address, an inner one, a length of UDP, and the last
    // octet, which is under the checksum of ICMP, UDP or TCP.
    let first = 24 + 16;
    let length = u32::from_le_bytes(sound[24 + 8..24 + 12].try_into().unwrap()) as usize;
    for at in [first + 12, first + 28 + 12, first + 24, first + length - 1] {
        let mut octets = sound.clone();
        octets[at] ^= 1;
        fs::write(&file, octets).unwrap();
        assert_eq!(unsound(&file, 4002, "ip").lines().count(), 1, "octet {at}");
    }
}
