//! Everything at once, for as long as one likes: mixed traffic of both slices, one packet of a
//! hundred corrupted, while commands and cables change. `FASTPATH_SOAK_SECONDS` says for how
//! long (10), `FASTPATH_SOAK_SEED` which (one is drawn and printed):
//!
//! ```text
//! FASTPATH_SOAK_SECONDS=600 cargo test --release --test router soak -- --nocapture
//! ```
//!
//! The seed decides what is sent and what is changed, not when. At the end every packet that a
//! router received must be accounted for, none of a slice have been seen in the other, the memory
//! of the routers be flat, and both slices be as they were.

mod changes;
mod frame;
mod health;
mod raw;
mod traffic;
mod witness;

use std::env;
use std::panic::catch_unwind;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fastpath::conformance::Rng;
use serde_json::{Value, json};

use crate::program::Router;
use crate::world::{Plan, SLICES, World, with_world};
use changes::Changes;
use health::Health;

/// Until what was sent has arrived, and what broke is mended.
const PATIENCE: Duration = Duration::from_secs(120);

/// Buffers of a router's worker.
const BUFFERS: u64 = 8192;

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable}: {text}")))
}

#[test]
fn a_soak_leaves_every_packet_accounted_for_and_memory_flat() {
    let seconds = number("FASTPATH_SOAK_SECONDS").unwrap_or(10);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seed = number("FASTPATH_SOAK_SEED").unwrap_or(now.as_nanos() as u64 & 0xffff_ffff);
    println!("FASTPATH_SOAK_SEED={seed} FASTPATH_SOAK_SECONDS={seconds}");
    // What waits of slices that are withdrawn takes memory until it is sent: little is to.
    let plan = Plan { limit: 64, ..Plan::default() };
    with_world("soak", plan, |world| soak(world, seed, Duration::from_secs(seconds)));
}

fn soak(world: &mut World, seed: u64, length: Duration) {
    let mut rng = Rng::new(seed);
    let since = Instant::now();
    reach(world);
    // Memory that is touched once: as many exceptions as there are buffers, and more, since those
    // that a slice manager keeps are made up for; queues that fill, slices that come anew.
    traffic::expire(world, &mut rng, 3 * BUFFERS);
    println!("{:?}: exceptions enough", since.elapsed());
    let witnesses = witness::all(&world.net);
    let traffic = traffic::start(&world.net, &mut rng);
    let mut changes = Changes::new(rng);
    changes.warm_up(world);
    println!("{:?}: warm", since.elapsed());
    let mut health = Health::new(&world.routers);
    let end = Instant::now() + length;
    while Instant::now() < end {
        changes.next(world);
        health.sample();
    }
    changes.mend(world);
    println!("{:?}: mended", since.elapsed());
    let (before, mended) = (traffic.fetched(), Instant::now());
    while traffic.fetched().iter().zip(before).any(|(now, before)| *now <= before) {
        assert!(mended.elapsed() < PATIENCE, "TCP does not come back");
        thread::sleep(Duration::from_millis(10));
    }
    println!("{:?}: TCP is back", since.elapsed());
    let (fetched, sent) = (traffic.fetched(), traffic.end());
    println!("{:?}: traffic has ended", since.elapsed());
    reach(world);
    let seen = witnesses.into_iter().map(witness::Witness::end).collect::<Vec<_>>();
    println!("fetched: {fetched:?}\nsent: {sent}\nchanges: {changes}\nseen: {seen:?}");
    for (router, at) in world.routers.iter_mut().zip(["a", "b"]) {
        let report = settle(router);
        println!("router {at}: {report}");
        account(at, &report);
    }
    println!("{:?}: accounted for", since.elapsed());
    health.end();
    sent.check();
    for seen in seen {
        seen.check();
    }
}

/// Waits until hosts of each slice, on both sides, have each other's answer.
fn reach(world: &World) {
    let since = Instant::now();
    for slice in SLICES {
        for (side, other) in [("a", 2), ("b", 1)] {
            let host = format!("{}{side}", slice.name);
            while let Err(said) = world.net.run(&host, &format!("ping -n -c 1 -W 1 192.168.{other}.2")) {
                assert!(since.elapsed() < PATIENCE, "{host}: the other side does not answer: {said}");
            }
        }
    }
    println!("both slices answer after {:?}", since.elapsed());
}

/// The report of a router in which nothing waits.
fn settle(router: &mut Router) -> Value {
    let since = Instant::now();
    loop {
        let report: Value = serde_json::from_str(&router.tell("report")).unwrap();
        let waiting = figures(&report, "slices").chain(figures(&report, "ports")).map(|of| &of["waiting"]);
        if waiting.chain([&report["departed"]["waiting"]]).all(|waiting| waiting == 0) {
            return report;
        }
        assert!(since.elapsed() < PATIENCE, "packets wait for ever: {report}");
    }
}

fn figures<'a>(report: &'a Value, of: &str) -> impl Iterator<Item = &'a Value> {
    report[of].as_object().into_iter().flat_map(|map| map.values())
}

/// All that was received or injected was sent, dropped or handed to the slow path; all that was
/// sent was taken and either sent or refused by a port.
fn account(at: &str, report: &Value) {
    assert_eq!(report["exact"], true, "router {at}: {report}");
    let sum = |of: &str, what: &str| figures(report, of).map(|of| of[what].as_u64().unwrap()).sum::<u64>();
    let slices = |what| sum("slices", what) + report["departed"][what].as_u64().unwrap();
    assert_eq!(report["received"].as_u64(), Some(sum("ports", "received")), "router {at}: received");
    let left = ["sent", "dropped", "slow_path"].map(slices);
    assert_eq!(
        sum("ports", "received") + slices("injected"),
        left.iter().sum::<u64>(),
        "router {at}: received and injected; sent, dropped, slow path {left:?}"
    );
    assert_eq!(slices("sent"), sum("ports", "handed"), "router {at}: sent to ports");
    let gone = ["sent", "refused"].map(|what| sum("ports", what));
    assert_eq!(sum("ports", "handed"), gone.iter().sum::<u64>(), "router {at}: {gone:?} sent, refused");
    assert_eq!(sum("ports", "inside"), 0, "router {at}");
    assert!(left.iter().all(|count| *count > 0), "router {at} did not do everything: {left:?}");
}

#[test]
fn an_account_that_lacks_a_packet_is_found() {
    let packets = |n: u64| json!({"injected": n, "sent": 4 * n, "dropped": 3 * n, "slow_path": n});
    let port = json!({"received": 21, "handed": 12, "sent": 10, "refused": 2, "inside": 0});
    let good = json!({
        "exact": true, "received": 21, "slices": {"red": packets(2)}, "departed": packets(1), "ports": {"middle": port}
    });
    account("good", &good);
    let fields = [("slices", "red"), ("ports", "middle")];
    let below = fields.iter().flat_map(|&(of, name)| {
        let names = good[of][name].as_object().unwrap().keys();
        names.map(move |field| format!("/{of}/{name}/{field}"))
    });
    let top = ["/received", "/departed/sent", "/departed/dropped"].map(String::from);
    for field in below.chain(top) {
        let mut wrong = good.clone();
        let figure = wrong.pointer_mut(&field).unwrap();
        *figure = (figure.as_u64().unwrap() + 1).into();
        assert!(catch_unwind(|| account("wrong", &wrong)).is_err(), "{field}");
    }
    let mut wrong = good;
    wrong["exact"] = false.into();
    assert!(catch_unwind(|| account("wrong", &wrong)).is_err());
}
