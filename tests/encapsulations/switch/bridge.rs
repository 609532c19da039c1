//! Two bridges of a switch: one where outer frames come and go, one with the tunnels, each
//! joined to a port of its own.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::thread;
use std::time::{Duration, Instant};

use super::{HERE_MAC, OVER_V4, OVER_V6, THERE_MAC, TUNNELS};
use crate::ovs::OpenVSwitch;

/// The switch, and what its ports have sent.
pub(super) struct Bridge {
    switch: OpenVSwitch,
    outside: Sent,
    inside: Vec<Sent>,
}

/// The longest that a packet may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The number of the port that is joined to a tunnel, and the tunnel's.
const fn ports(tunnel: usize) -> [usize; 2] {
    [100 + tunnel, 200 + tunnel]
}

impl Bridge {
    /// Starts it.
    pub(super) fn start() -> Result<Self, String> {
        let mut switch = OpenVSwitch::start("--enable-dummy")?;
        for bridge in ["under", "over"] {
            switch.add_bridge(bridge)?;
        }
        let mac = |mac: [u8; 6]| mac.map(|octet| format!("{octet:02x}")).join(":");
        switch.vsctl(&["set", "bridge", "under", &format!("other-config:hwaddr=\"{}\"", mac(THERE_MAC))])?;
        dummy(&switch, "under", "outside", 1)?;
        for ([ours, theirs], length) in [(OVER_V4, 24), (OVER_V6, 64)] {
            let command = if length == 24 { "netdev-dummy/ip4addr" } else { "netdev-dummy/ip6addr" };
            switch.appctl(command, &["under", &format!("{theirs}/{length}")])?;
            switch.appctl("ovs/route/add", &[&format!("{ours}/{length}"), "under"])?;
            switch.appctl("tnl/neigh/set", &["under", ours, &mac(HERE_MAC)])?;
        }
        switch.ofctl("add-flow", "under", &["in_port=1,actions=LOCAL"], "")?;
        switch.ofctl("add-flow", "under", &["in_port=LOCAL,actions=1"], "")?;
        switch.ofctl("add-tlv-map", "over", &["{class=0x102,type=3,len=4}->tun_metadata0"], "")?;

        let mut flows = String::new();
        for (at, tunnel) in TUNNELS.iter().enumerate() {
            let [port, number] = ports(at);
            dummy(&switch, "over", &inside(at), port)?;
            let name = format!("t{at}");
            let remote = format!("options:remote_ip=\"{}\"", tunnel.ends[0]);
            let number_of = format!("ofport_request={number}");
            let add = ["add-port", "over", &*name, "--", "set", "interface", &*name];
            switch.vsctl(&[&add[..], tunnel.theirs, &[&*remote, &*number_of]].concat())?;
            writeln!(flows, "in_port={port},actions={}output:{number}", tunnel.actions).unwrap();
            writeln!(flows, "in_port={number},actions=output:{port}").unwrap();
        }
        switch.ofctl("add-flows", "over", &["-"], &flows)?;
        let outside = Sent::of(&switch, "outside")?;
        let inside = (0..TUNNELS.len()).map(|at| Sent::of(&switch, &inside(at))).collect::<Result<_, _>>()?;
        Ok(Self { switch, outside, inside })
    }

    /// Gives a frame to the port that is joined to a tunnel.
    pub(super) fn send_inside(&mut self, tunnel: usize, frame: &[u8]) {
        self.switch.appctl("netdev-dummy/receive", &[&inside(tunnel), &hex(frame)]).unwrap();
    }

    /// Gives frames to the port outside, at most 50: more would not wait there.
    pub(super) fn send_outside(&mut self, frames: &[&[u8]]) {
        let frames: Vec<_> = frames.iter().map(|frame| hex(frame)).collect();
        let mut arguments = vec!["outside"];
        arguments.extend(frames.iter().map(String::as_str));
        self.switch.appctl("netdev-dummy/receive", &arguments).unwrap();
    }

    /// Forgets what was decided for frames like it: so the next is looked at as a whole.
    pub(super) fn forget(&mut self) {
        self.switch.appctl("revalidator/purge", &[]).unwrap();
    }

    /// The next outer frame.
    pub(super) fn receive_outside(&mut self) -> Vec<u8> {
        self.outside.next()
    }

    /// The next frame that came by a tunnel.
    pub(super) fn receive_inside(&mut self, tunnel: usize) -> Vec<u8> {
        self.inside[tunnel].next()
    }

    /// The frame that has come, and its tunnel; `last` is a frame that comes behind it by
    /// the first tunnel.
    pub(super) fn received_before(&mut self, last: &[u8]) -> Vec<(usize, Vec<u8>)> {
        let first = std::iter::from_fn(|| Some(self.inside[0].next()).filter(|frame| frame != last));
        let mut received: Vec<_> = first.map(|frame| (0, frame)).collect();
        for (at, inside) in self.inside.iter_mut().enumerate().skip(1) {
            received.extend(std::iter::from_fn(|| inside.poll().map(|frame| (at, frame))));
        }
        received
    }
}

fn inside(tunnel: usize) -> String {
    format!("inside{tunnel}")
}

/// Adds a port that writes down what it sends.
fn dummy(switch: &OpenVSwitch, bridge: &str, name: &str, number: usize) -> Result<(), String> {
    let file = format!("options:tx_pcap={}", switch.path(&format!("{name}.pcap")));
    let number = format!("ofport_request={number}");
    let set = ["set", "interface", name, "type=dummy", &*number, &*file];
    switch.vsctl(&[&["add-port", bridge, name, "--"], &set[..]].concat()).map(|_| ())
}

/// The capture that a port writes.
struct Sent(File);

impl Sent {
    fn of(switch: &OpenVSwitch, name: &str) -> Result<Self, String> {
        let mut file =
            File::open(switch.path(&format!("{name}.pcap"))).map_err(|error| format!("{name}: {error}"))?;
        // Its header has been written when the port is there.
        file.seek(SeekFrom::Start(24)).map_err(|error| error.to_string())?;
        Ok(Self(file))
    }

    /// The next frame, if it was written.
    fn poll(&mut self) -> Option<Vec<u8>> {
        let at = self.0.stream_position().unwrap();
        let mut header = [0; 16];
        let mut read = || {
            self.0.read_exact(&mut header).ok()?;
            let &[.., a, b, c, d, _, _, _, _] = &header;
            let mut frame = vec![0; u32::from_ne_bytes([a, b, c, d]) as usize];
            self.0.read_exact(&mut frame).ok().map(|()| frame)
        };
        let frame = read();
        if frame.is_none() {
            self.0.seek(SeekFrom::Start(at)).unwrap();
        }
        frame
    }

    fn next(&mut self) -> Vec<u8> {
        let start = Instant::now();
        loop {
            if let Some(frame) = self.poll() {
                return frame;
            }
            assert!(start.elapsed() < PATIENCE, "a frame that does not come");
            thread::sleep(Duration::from_micros(100));
        }
    }
}

fn hex(frame: &[u8]) -> String {
    frame.iter().map(|octet| format!("{octet:02x}")).collect()
}
