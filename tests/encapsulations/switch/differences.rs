//! Where we do not think of a damaged frame as Open vSwitch does, and why we may.

use std::collections::BTreeSet;

/// What an end makes of a frame.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Made {
    /// It is dropped.
    Refused,
    /// It is taken as if it were not damaged.
    Taken,
    /// It is taken for another packet, or for another tunnel's.
    Another,
}

use Made::{Another, Refused, Taken};

/// A tunnel by the front of its name, the field, what we and what they make of it.
struct Difference {
    tunnels: &'static [&'static str],
    fields: &'static [&'static str],
    ours: &'static [Made],
    theirs: Made,
    because: &'static str,
}

/// All of them: one that is not here is a fault, and so is one that does not occur.
const DIFFERENCES: &[Difference] = &[
    // They take more.
    Difference {
        tunnels: &["gre", "vxlan", "geneve"],
        fields: &["ip length"],
        ours: &[Refused, Another],
        theirs: Taken,
        because: "a packet ends where its IP header says (RFC 791, 3.1; RFC 8200, 3), theirs with the frame",
    },
    Difference {
        tunnels: &["gre", "vxlan", "geneve"],
        fields: &["padded"],
        ours: &[Taken],
        theirs: Another,
        because: "what the link padded is no part of the packet (RFC 894)",
    },
    Difference {
        tunnels: &["vxlan", "geneve"],
        fields: &["udp length"],
        ours: &[Refused, Another],
        theirs: Taken,
        because: "a datagram ends where its UDP header says (RFC 768), theirs with the frame",
    },
    Difference {
        tunnels: &["vxlan, ipv6", "geneve, ipv6"],
        fields: &["udp length"],
        ours: &[Another],
        theirs: Refused,
        because: "the same: its checksum, made right for that length, is not that of the frame's rest",
    },
    Difference {
        tunnels: &["geneve"],
        fields: &["geneve control"],
        ours: &[Refused],
        theirs: Taken,
        because: "RFC 8926, 3.4: control packets go to control; they leave it to flows",
    },
    Difference {
        tunnels: &["geneve"],
        fields: &["option not critical, but the flag"],
        ours: &[Refused],
        theirs: Taken,
        because: "RFC 8926, 3.4: who supports no options drops on the basis of the flag",
    },
    Difference {
        tunnels: &["gre", "geneve"],
        fields: &["gre checksum flag", "gre key flag", "gre sequence flag", "geneve length of options"],
        ours: &[Refused],
        theirs: Another,
        because: "the inner frame, read from another place, is no longer for this station: flows may ask, we do",
    },
    Difference {
        tunnels: &["gre of packets"],
        fields: &["gre protocol"],
        ours: &[Refused],
        theirs: Taken,
        because: "a link's packets are of one EtherType: it decides which code option reads them",
    },
    // We take more.
    Difference {
        tunnels: &["gre", "vxlan", "geneve"],
        fields: &["ip sender"],
        ours: &[Taken],
        theirs: Refused,
        because: "a link's packets come from whichever sender, their ports name one",
    },
    Difference {
        tunnels: &["vxlan"],
        fields: &["vxlan reserved"],
        ours: &[Taken],
        theirs: Refused,
        because: "RFC 7348, 5: reserved fields are ignored on receipt",
    },
    Difference {
        tunnels: &["gre"],
        fields: &["gre reserved"],
        ours: &[Taken],
        theirs: Refused,
        because: "RFC 2784, 2.3: bits 6 to 12 are ignored on receipt",
    },
    Difference {
        tunnels: &["gre of packets"],
        fields: &["gre key flag"],
        ours: &[Another],
        theirs: Refused,
        because: "the tunnel without a key is of frames; ours takes packets, too",
    },
    Difference {
        tunnels: &["gre of packets"],
        fields: &["cut, lengths to match"],
        ours: &[Another],
        theirs: Refused,
        because: "whether there is all of the inner packet the code option looks at",
    },
    Difference {
        tunnels: &["geneve"],
        fields: &["option known to them, of another length"],
        ours: &[Taken],
        theirs: Refused,
        because: "none is known to us",
    },
];

/// Compares what was found, by tunnel and field, with what is listed.
pub(super) fn check(found: &[(&'static str, &'static str, Made, Made)]) {
    let mut occurred = BTreeSet::new();
    let mut faults = BTreeSet::new();
    for (tunnel, field, ours, theirs) in found {
        let known = DIFFERENCES.iter().position(|known| {
            known.tunnels.iter().any(|front| tunnel.starts_with(front))
                && known.fields.contains(field)
                && known.ours.contains(ours)
                && known.theirs == *theirs
        });
        match known {
            Some(known) => drop(occurred.insert(known)),
            None => drop(faults.insert(format!("{tunnel}, {field}: {ours:?} by us, {theirs:?} by them"))),
        }
    }
    for (number, known) in DIFFERENCES.iter().enumerate() {
        if !occurred.contains(&number) {
            faults.insert(format!("{:?} {:?} does not occur", known.tunnels, known.fields));
        }
        println!("{:?}: {:?} by us, {:?} by them: {}", known.fields, known.ours, known.theirs, known.because);
    }
    assert!(faults.is_empty(), "{faults:#?}");
}
