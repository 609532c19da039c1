//! The Linux kernel as the oracle of IPv4 forwarding: each packet of a corpus goes
//! through a Linux router and through the IPv4 code option with the same routes, and
//! meets the same fate, octet for octet if it is forwarded.
//!
//! Our slow path corresponds to whatever the kernel does besides forwarding or dropping
//! a packet as it is: answer it, deliver it, write into its options, cut it up. What
//! differs is in [`differences`], each with its reason.
//!
//! Needs Linux 5.3 or later, root, ip(8) and `/dev/net/tun`; skipped without, unless
//! `FASTPATH_REQUIRE_ORACLES` is 1. With `--nocapture` it prints all fates.

#![cfg(target_os = "linux")]

mod captures;
mod corpus;
mod differences;
mod kernel;
#[path = "../support/oracle.rs"]
mod oracle;
mod ours;
mod routes;
mod tun;

use std::collections::BTreeMap;
use std::panic;
use std::thread;

use corpus::Sample;
use differences::{DIFFERENCES, Difference};
use fastpath::exit::{Exception, Exit};

#[test]
fn packets_meet_the_fate_that_the_kernel_gives_them() {
    // The network namespace is the thread's.
    let outcome = thread::spawn(|| kernel::Router::new().map(compare)).join();
    match outcome {
        Ok(Ok(faults)) => assert!(faults.is_empty(), "\n{}", faults.join("\n")),
        Ok(Err(reason)) => oracle::skip(&format!("kernel_ipv4: {reason}")),
        Err(panic) => panic::resume_unwind(panic),
    }
}

/// Sends all packets both ways, prints the fates, and returns what is wrong.
fn compare(mut router: kernel::Router) -> Vec<String> {
    let fast_path = ours::FastPath::new();
    let (captured, skipped) = captures::all();
    for line in &skipped {
        println!("{line}");
    }
    println!("{:<50} {:<18} {:<20} why not alike", "packet", "kernel", "ours");
    let mut allowed = allowed();
    let (mut faults, mut table) = (Vec::new(), Table::default());
    for Sample { name, octets } in corpus::by_hand().into_iter().chain(captured) {
        let (kernel, ours) = (router.route(&octets), fast_path.route(&octets));
        let listed = allowed.remove(name.as_str());
        let fates = (&*kernel.to_string(), &*ours.to_string());
        let note = match (alike(&kernel, &ours), listed) {
            (true, None) => "",
            (false, Some(listed)) if (listed.kernel, listed.ours) == fates => listed.because,
            (_, listed) => {
                let listed = listed.map_or("nothing", |listed| listed.because);
                faults.push(format!("{name}: {fates:?}, and listed is {listed}"));
                faults.push(format!("  it was {octets:02x?}, kernel {kernel:02x?}, ours {ours:02x?}"));
                "FAULT"
            }
        };
        table.row(&name, fates, note);
    }
    table.flush();
    let unmet = allowed.into_keys().filter(|name| !captures::absent(name));
    faults.extend(unmet.map(|name| format!("{name}: listed as a difference, and there is no such packet")));
    faults
}

/// Whether the two fates are the same one, in the words of each.
fn alike(kernel: &kernel::Fate, ours: &ours::Fate) -> bool {
    use kernel::Fate::{Answered, Delivered, Dropped, Forwarded, Fragmented, NoRoute, Options};
    let exit = match ours {
        ours::Fate::Forwarded(side, octets) => return *kernel == Forwarded(*side, octets.clone()),
        ours::Fate::Left(exit) => *exit,
    };
    match (kernel, exit) {
        (Dropped, Exit::Drop(_)) => true,
        (Forwarded(..) | Dropped, _) | (_, Exit::Drop(_)) => false,
        // What the kernel does after it has read the options, the slow path will do.
        (_, Exit::SlowPath(reason)) => {
            reason == Exception::Options
                || match kernel {
                    // Time exceeded.
                    Answered(11, _) => reason == Exception::Expired,
                    // Fragmentation needed.
                    Answered(3, 4) | Fragmented(..) => reason == Exception::TooBig,
                    // Protocol or port unreachable.
                    Answered(3, 2 | 3) | Delivered => {
                        matches!(reason, Exception::Local | Exception::Multicast)
                    }
                    // Any other destination unreachable, by a filter.
                    Answered(3, _) | NoRoute => reason == Exception::Filtered,
                    Answered(..) | Options(_) | Forwarded(..) | Dropped => false,
                }
        }
    }
}

/// The differences by packet.
fn allowed() -> BTreeMap<&'static str, &'static Difference> {
    let mut allowed = BTreeMap::new();
    for difference in DIFFERENCES {
        for packet in difference.packets {
            assert!(allowed.insert(*packet, difference).is_none(), "{packet} is listed twice");
        }
    }
    allowed
}

/// Prints fates; packets of one capture that stand together and fare alike in one line.
#[derive(Debug, Default)]
struct Table {
    packets: Vec<String>,
    fates: String,
}

impl Table {
    fn row(&mut self, name: &str, (kernel, ours): (&str, &str), note: &str) {
        let fates = format!("{kernel:<18} {ours:<20} {note}");
        let source =
            |name: &str| name.split_once('#').map(|(file, rest)| (file.to_owned(), rest.contains(' ')));
        let last = self.packets.last().and_then(|last| source(last));
        if last.is_none() || last != source(name) || fates != self.fates {
            self.flush();
            self.fates = fates;
        }
        self.packets.push(name.to_owned());
    }

    fn flush(&mut self) {
        if let [first, rest @ ..] = &self.packets[..] {
            let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
            println!("{:<50} {}", format!("{first}{more}"), self.fates.trim_end());
        }
        self.packets.clear();
    }
}
