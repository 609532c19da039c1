//! The example program `node` with links of every kind: plain UDP, VXLAN, Geneve and GRE, over
//! IPv4 and IPv6, of packets and of frames, on interfaces with and without Ethernet.

#[allow(dead_code)]
#[path = "../examples/node/main.rs"]
mod node;
#[path = "support/oracle.rs"]
mod oracle;
#[path = "support/scratch.rs"]
mod scratch;

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::Path;
use std::process::Command;

use etherparse::PacketBuilder;
use fastpath::io::pcap::{Reader, Writer};
use fastpath::slot::Layer;
use fastpath::time::Nanos;
use scratch::Scratch;
use serde_json::Value;

/// A kind of link: name, keys (`A` is this end's digit, `B` the other's),
/// and the layers that tshark should see in front of the inner IP header.
const KINDS: &[(&str, &str, &str)] = &[
    ("udp", "port = 400A\npeer = \"192.0.2.B:400B\"", "ip:udp"),
    ("udp6", "port = 400A\npeer = \"[2001:db8::B]:400B\"", "ipv6:udp"),
    ("udp6-zero", "port = 410A\npeer = \"[2001:db8::B]:410B\"\nzero_udp_checksum = true", "ipv6:udp"),
    (
        "vxlan",
        "peer = \"192.0.2.B\"\nvxlan = { vni = 7, mac = \"06:00:00:00:00:0A\", peer_mac = \"06:00:00:00:00:0B\" }",
        "ip:udp:vxlan:eth",
    ),
    (
        "vxlan6",
        "port = 4790\npeer = \"[2001:db8::B]:4790\"\nvxlan = { vni = 7, mac = \"06:00:00:00:00:0A\", \
         peer_mac = \"06:00:00:00:00:0B\" }",
        "ipv6:udp:vxlan:eth",
    ),
    ("geneve", "peer = \"192.0.2.B\"\ngeneve = { vni = 7 }", "ip:udp:geneve"),
    (
        "geneve6",
        "peer = \"2001:db8::B\"\ngeneve = { vni = 8, mac = \"06:00:00:00:00:0A\", peer_mac = \"06:00:00:00:00:0B\" }",
        "ipv6:udp:geneve:eth",
    ),
    ("gre", "peer = \"192.0.2.B\"\ngre = {}", "ip:gre"),
    ("gre-key", "peer = \"192.0.2.B\"\ngre = { key = 4_000_000_000, checksum = true }", "ip:gre"),
    (
        "gre6",
        "peer = \"2001:db8::B\"\ngre = { key = 1, mac = \"06:00:00:00:00:0A\", peer_mac = \"06:00:00:00:00:0B\" }",
        "ipv6:gre:eth",
    ),
];

/// Interfaces, and what tshark sees in front of the IP header.
const LAYERS: &[(&str, &str)] = &[
    ("", "raw"),
    (", next_hop = \"02:00:00:00:00:0B\" }", "eth"),
    (", next_hop = \"02:00:00:00:00:0B\", vlan = 9 }", "eth:vlan"),
    (", next_hop = \"02:00:00:00:00:0B\", vlan = 9, service_vlan = 100 }", "eth:ieee8021ad:vlan"),
];

/// Packets that arrive at each link for each.
const EACH: usize = 3;

/// A slice with a link of each kind, and a route by each.
fn config(layer: &str, ours: char, theirs: char) -> String {
    let mut text = String::from(
        "[[interface]]\nname = \"wire\"\naddress = \"192.0.2.A\"\naddress_v6 = \"2001:db8::A\"\nrate = 1_000_000_000\n",
    );
    if !layer.is_empty() {
        writeln!(text, "ethernet = {{ source = \"02:00:00:00:00:0A\"{layer}").unwrap();
    }
    text.push_str("[[slice]]\nname = \"all\"\noption = \"ipv4\"\n");
    for (name, keys, _) in KINDS {
        writeln!(text, "[[slice.link]]\nname = \"{name}\"\ninterface = \"wire\"\n{keys}").unwrap();
    }
    text.push_str(
        "[[slice.queue]]\nname = \"queue\"\ninterface = \"wire\"\nweight = 1\nlimit_packets = 10_000\n",
    );
    for (at, (name, ..)) in KINDS.iter().enumerate() {
        writeln!(text, "[[slice.route]]\nprefix = \"10.{at}.0.0/16\"\nlink = \"{name}\"\nqueue = \"queue\"")
            .unwrap();
    }
    // Digits stand at the ends of words.
    let turn = |word: char, digit: char, text: String| {
        let ends = ['"', '\n', ']', ':', ' '];
        ends.iter().fold(text, |text, end| text.replace(&format!("{word}{end}"), &format!("{digit}{end}")))
    };
    turn('B', theirs, turn('A', ours, text))
}

/// Packets to a host behind each link.
fn packets(file: &Path) {
    let mut writer = Writer::new(File::create(file).unwrap(), Layer::Ip).unwrap();
    for number in 0..EACH * KINDS.len() {
        let mut packet = Vec::new();
        let udp = PacketBuilder::ipv4([10, 99, 0, 1], [10, (number / EACH) as u8, 0, 1], 64).udp(7, 9);
        udp.write(&mut packet, &vec![number as u8; 20 + 40 * number]).unwrap();
        writer.write(Nanos(number as u64 * 100_000), &packet).unwrap();
    }
    writer.finish().unwrap();
}

fn run(arguments: &[String]) -> (u8, String) {
    let mut out = Vec::new();
    let arguments = ["node".into()].into_iter().chain(arguments.iter().map(OsString::from));
    let status = node::run(arguments, &mut out).unwrap_or_else(|error| panic!("{error}"));
    (status, String::from_utf8(out).unwrap())
}

fn frames(capture: &Path) -> usize {
    let mut reader = Reader::new(BufReader::new(File::open(capture).unwrap())).unwrap();
    let mut frames = 0;
    while let Some(frame) = reader.next_frame() {
        frame.unwrap();
        frames += 1;
    }
    frames
}

/// What one node sends by links of every kind, another takes and sends on, and tshark reads.
#[test]
fn captures_are_forwarded_by_links_of_every_kind() {
    let tshark = Command::new("tshark").arg("--version").output().is_ok_and(|it| it.status.success());
    if !tshark {
        oracle::skip("captures_are_forwarded_by_links_of_every_kind, in part: tshark is not installed");
    }
    for (number, (layer, outside)) in LAYERS.iter().enumerate() {
        let scratch = Scratch::new("node-links", &number.to_string());
        let inner = scratch.path("inner.pcap");
        packets(&inner);
        let [one, other] = [('1', '2'), ('2', '1')].map(|(ours, theirs)| config(layer, ours, theirs));
        let [one, other] = [scratch.write("one.toml", &one), scratch.write("other.toml", &other)];

        // All of them arrive at each link, behind what the far end puts in front.
        let (sent, figures) = (scratch.path("sent"), scratch.path("figures.json"));
        let mut arguments = vec!["--config".to_owned(), one, "--inner".into()];
        arguments.extend(["--out".into(), sent.display().to_string()]);
        arguments.extend(["--json".into(), figures.display().to_string()]);
        for (name, ..) in KINDS {
            arguments.extend(["--in".into(), format!("{name}={}", inner.display())]);
        }
        let (status, said) = run(&arguments);
        assert_eq!(status, 0, "{said}");
        let all = EACH * KINDS.len() * KINDS.len();
        let report: Value = serde_json::from_str(&fs::read_to_string(&figures).unwrap()).unwrap();
        assert_eq!(
            (&report["frames"], &report["slices"][1]["forwarded"]),
            (&all.into(), &all.into()),
            "{report:#}"
        );
        for (name, _, layers) in KINDS {
            let file = sent.join(format!("{name}.pcap"));
            assert_eq!(frames(&file), EACH * KINDS.len(), "{name}");
            if tshark {
                sound(&file, &format!("{outside}:{layers}"));
            }
        }

        // The other end takes it as it stands, and sends each by the way it came.
        let back = scratch.path("back");
        let mut arguments = vec!["--config".to_owned(), other, "--out".into(), back.display().to_string()];
        for (name, ..) in KINDS {
            let file = sent.join(format!("{name}.pcap"));
            arguments.extend(["--in".into(), format!("{name}={}", file.display())]);
        }
        let (status, said) = run(&arguments);
        assert_eq!(status, 0, "{said}");
        for (name, ..) in KINDS {
            assert_eq!(frames(&back.join(format!("{name}.pcap"))), EACH * KINDS.len(), "{name}");
        }
    }
}

/// Every frame has these layers, and no checksum is wrong.
fn sound(capture: &Path, layers: &str) {
    let mut tshark = Command::new("tshark");
    tshark.args(["-n", "-r"]).arg(capture).args(["-d", "udp.port==4790,vxlan"]);
    for port in ["4001", "4002", "4101", "4102"] {
        tshark.args(["-d", &format!("udp.port=={port},ip")]);
    }
    for check in ["ip.check_checksum:TRUE", "udp.check_checksum:TRUE"] {
        tshark.args(["-o", check]);
    }
    tshark.args(["-T", "fields", "-E", "separator=;", "-E", "aggregator=,"]);
    for field in ["frame.protocols", "ip.checksum.status", "udp.checksum.status", "gre.checksum.status"] {
        tshark.args(["-e", field]);
    }
    let output = tshark.output().unwrap();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let (protocols, checksums) = line.split_once(';').unwrap();
        let seen = protocols.replace("ethertype:", "");
        assert!(seen.starts_with(&format!("{layers}:ip:udp")), "{line}: {layers}");
        assert!(!checksums.split([';', ',']).any(|status| matches!(status, "0" | "Bad")), "{line}");
    }
}
