//! What tshark reads in our frames: every layer, and every checksum right.

use std::process::Command;

use etherparse::PacketBuilder;
use fastpath::decap::TunnelKind;
use fastpath::egress::{Encapsulation, Payload, Tunnel};
use fastpath::io::pcap::Writer;
use fastpath::slot::{Layer, Outgoing};
use fastpath::time::Nanos;

use crate::oracle;
use crate::world::{ends, kinds, layers, wrap};

#[test]
fn tshark_reads_every_layer_and_finds_no_fault() {
    let file = std::env::temp_dir().join(format!("fastpath-tunnels-{}.pcap", std::process::id()));
    let mut writer = Writer::new(std::fs::File::create(&file).unwrap(), Layer::Ethernet).unwrap();
    let mut inner = Vec::new();
    PacketBuilder::ipv4([192, 168, 0, 1], [192, 168, 0, 2], 64)
        .udp(1000, 2000)
        .write(&mut inner, b"odd")
        .unwrap();
    let mut expected = Vec::new();
    for v6 in [false, true] {
        for (encapsulation, kind) in kinds() {
            for (layer, _) in &layers()[1..] {
                let [source, destination] = ends(v6, kind);
                let tunnel = Tunnel::new(*layer, source, destination).with(encapsulation);
                let frame =
                    wrap(&tunnel, &inner, Outgoing { traffic_class: 2, destination: None }, 77).unwrap();
                writer.write(Nanos(0), &frame).unwrap();
                expected.push((read(v6, layer.octets(), encapsulation), number(kind)));
            }
        }
    }
    writer.finish().unwrap();
    let mut command = Command::new("tshark");
    command.arg("-r").arg(&file).args(["-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE"]);
    command.args(["-T", "fields", "-E", "separator=;", "-E", "aggregator=,"]);
    let fields = [
        "frame.protocols",
        "vxlan.vni",
        "geneve.vni",
        "gre.key",
        "ip.checksum.status",
        "udp.checksum.status",
    ];
    for field in fields.iter().chain(&["gre.checksum.status"]) {
        command.args(["-e", field]);
    }
    let output = command.output();
    let _ = std::fs::remove_file(&file);
    let Ok(output) = output else { return oracle::skip("tshark is not installed") };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), expected.len());
    for (line, (layers, number)) in text.lines().zip(expected) {
        let fields: Vec<_> = line.split(';').collect();
        let [protocols, vxlan, geneve, gre, checksums @ ..] = &fields[..] else { panic!("{line}") };
        assert_eq!(protocols.replace("ethertype:", "").trim_end_matches(":data"), layers, "{line}");
        let said = [vxlan, geneve, gre].into_iter().find(|said| !said.is_empty());
        let said = said.map(|said| match said.strip_prefix("0x") {
            Some(digits) => u32::from_str_radix(digits, 16).unwrap(),
            None => said.parse().unwrap(),
        });
        assert_eq!(said, number, "{line}");
        // 1 is right, 3 not there; 0 would be wrong, 2 not looked at.
        let fine = |status: &str| matches!(status, "" | "1" | "3" | "Good" | "Not present");
        assert!(checksums.iter().flat_map(|all| all.split(',')).all(fine), "{line}");
    }
}

/// The layers that tshark should see; a plain link's packets are data to it.
fn read(v6: bool, link: usize, encapsulation: Encapsulation) -> String {
    let tags = match link {
        14 => "",
        18 => ":vlan",
        _ => ":ieee8021ad:vlan",
    };
    let framed = |payload| if payload == Payload::IPV4 { "ip:udp" } else { "eth:ip:udp" };
    let rest = match encapsulation {
        Encapsulation::Udp => "udp".to_owned(),
        Encapsulation::Vxlan { .. } => "udp:vxlan:eth:ip:udp".to_owned(),
        Encapsulation::Geneve { payload, .. } => format!("udp:geneve:{}", framed(payload)),
        Encapsulation::Gre { payload, .. } => format!("gre:{}", framed(payload)),
    };
    format!("eth{tags}:{}:{rest}", if v6 { "ipv6" } else { "ip" })
}

fn number(kind: TunnelKind) -> Option<u32> {
    match kind {
        TunnelKind::Vxlan { vni, .. } | TunnelKind::Geneve { vni, .. } => Some(vni),
        TunnelKind::Gre { key } => key,
        _ => None,
    }
}
