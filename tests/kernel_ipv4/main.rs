//! The Linux kernel as the oracle of IPv4 forwarding: each packet of a corpus goes
//! through a Linux router and through the IPv4 code option with the same routes, and
//! meets the same fate, octet for octet if it is forwarded.
//!
//! Our slow path corresponds to whatever the kernel does besides forwarding or dropping
//! a packet as it is: answer it, deliver it, write into its options, cut it up. What the fast
//! path hands over goes through the slice manager, and what that sends is compared, too:
//! ICMP messages from type to the last octet quoted, options, fragments. What
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
mod slow;
mod tun;

use std::collections::BTreeMap;
use std::panic;
use std::thread;

use corpus::Sample;
use differences::{DIFFERENCES, Difference, SLOW_PATH};
use fastpath::exit::{Exception, Exit};
use fastpath::manager::Config;

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
    let (fast_path, mut slow_path) = (ours::FastPath::new(), slow::SlowPath::new());
    let (captured, skipped) = captures::all();
    for line in &skipped {
        println!("{line}");
    }
    println!("{:<50} {:<18} {:<20} {:<20} why not alike", "packet", "kernel", "ours", "slow path");
    let (mut allowed, mut allowed_slow) = (allowed(DIFFERENCES), allowed(SLOW_PATH));
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
        let mut slow = String::new();
        if let ours::Fate::Left(Exit::SlowPath(exception)) = ours {
            let outcome = slow_path.take(exception, &octets, &fast_path);
            slow = outcome.to_string();
            let listed = allowed_slow.remove(name.as_str());
            let fates = (&*kernel.to_string(), &*slow);
            match (slow::alike(&kernel, &outcome), listed) {
                (true, None) => {}
                (false, Some(listed)) if (listed.kernel, listed.ours) == fates => {
                    slow = format!("{slow:<20} {}", listed.because);
                }
                (_, listed) => {
                    let listed = listed.map_or("nothing", |listed| listed.because);
                    faults.push(format!("{name}: slow path: {fates:?}, and listed is {listed}"));
                    faults.push(format!("  it was {octets:02x?}\n  {kernel:02x?}\n  {outcome:02x?}"));
                }
            }
        }
        table.row(&name, (fates.0, &format!("{:<20} {slow}", fates.1)), note);
    }
    table.flush();
    let unmet = allowed.into_keys().chain(allowed_slow.into_keys()).filter(|name| !captures::absent(name));
    faults.extend(unmet.map(|name| format!("{name}: listed as a difference, and there is no such packet")));
    faults
}

/// Whether the two fates are the same one, in the words of each.
fn alike(kernel: &kernel::Fate, ours: &ours::Fate) -> bool {
    use kernel::Fate::{Answered, Delivered, Dropped, Forwarded, Fragmented, NoRoute, Options, Replied};
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
                    Answered(11, ..) => reason == Exception::Expired,
                    // Fragmentation needed.
                    Answered(3, 4, _) | Fragmented(..) => reason == Exception::TooBig,
                    // Protocol or port unreachable.
                    Answered(3, 2 | 3, _) | Replied(_) | Delivered => {
                        matches!(reason, Exception::Local | Exception::Multicast)
                    }
                    // Any other destination unreachable, by a filter.
                    Answered(3, 1, _) => reason == Config::HOST_UNREACHABLE,
                    Answered(3, 13, _) => reason == Config::PROHIBITED,
                    Answered(3, 0, _) | NoRoute => reason == Config::NO_ROUTE,
                    Answered(..) | Options(..) | Forwarded(..) | Dropped => false,
                }
        }
    }
}

/// The differences by packet.
fn allowed(differences: &'static [Difference]) -> BTreeMap<&'static str, &'static Difference> {
    let mut allowed = BTreeMap::new();
    for difference in differences {
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
