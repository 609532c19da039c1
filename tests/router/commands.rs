//! What else can be said to a router while packets flow.

use std::fmt::Write;
use std::thread;
use std::time::Duration;

use crate::answers::both;
use crate::scratch::Scratch;
use crate::traffic::{Pace, Stream};
use crate::world::{Plan, SLICES, World, with_world};

/// The hops to the other side's hosts, of each slice.
fn hops(world: &World) -> [String; 2] {
    let mut all = both(world, "traceroute -n -q 1 -w 2 192.168.2.2").into_iter().map(Result::unwrap);
    std::array::from_fn(|_| all.next().unwrap())
}

#[test]
fn a_link_is_led_to_another_peer() {
    with_world("peer", Plan::default(), |world| {
        both(world, "ping -n -c 2 -i 0.2 -W 3 192.168.2.2").into_iter().for_each(|said| drop(said.unwrap()));
        let [middle, spare] = ["192.168.12.2", "192.168.13.2"];
        assert!(hops(world).iter().all(|hops| hops.contains(middle) && !hops.contains(spare)));
        // The other router's end of the spare way: it answers by that link's address.
        let [red, _] = SLICES;
        let to = |host: u8, port: u16| format!("peer red red-middle 10.0.2.{host}:{port}");
        world.routers[0].tell(&to(2, red.port + 10));
        let [of_red, of_blue] = hops(world);
        assert!(of_red.contains(spare) && !of_red.contains(middle), "{of_red}");
        assert!(of_blue.contains(middle) && !of_blue.contains(spare), "{of_blue}");
        // To nobody, and back.
        world.routers[0].tell(&to(99, red.port));
        let [of_red, of_blue] =
            ["reda", "bluea"].map(|host| world.net.run(host, "ping -n -c 1 -W 1 192.168.2.2"));
        assert!(of_red.is_err(), "there is nobody: {of_red:?}");
        of_blue.unwrap();
        world.routers[0].tell(&to(2, red.port));
        assert!(hops(world).iter().all(|hops| hops.contains(middle) && !hops.contains(spare)));
    });
}

#[test]
fn an_interface_sends_at_the_rate_that_it_was_told() {
    with_world("rate", Plan::default(), |world| {
        let run = |world: &World| {
            // 8 Mbit/s.
            let pace = Pace { octets: 1000, at_once: 2, every: Duration::from_millis(2) };
            let stream = Stream::start(&world.net, "reda", ("redb", "192.168.2.2"), pace);
            thread::sleep(Duration::from_secs(2));
            let seen = stream.stop();
            println!("{} of {} datagrams arrived", seen.arrived.len(), seen.sent);
            (seen.arrived.len() as u64, seen.sent)
        };
        both(world, "ping -n -c 2 -i 0.2 -W 3 192.168.2.2").into_iter().for_each(|said| drop(said.unwrap()));
        world.routers[0].tell("rate middle 1000000");
        let (arrived, sent) = run(world);
        // An eighth, and what the queue held.
        assert!(arrived * 2 < sent, "{arrived} of {sent}: it is no slower");
        assert!(arrived * 20 > sent, "{arrived} of {sent}: it is slower than it was told");
        world.routers[0].tell("rate middle 1000000000");
        let (arrived, sent) = run(world);
        assert_eq!(arrived, sent);
    });
}

#[test]
fn routes_are_read_from_a_file_all_or_none() {
    with_world("routes", Plan::default(), |world| {
        both(world, "ping -n -c 2 -i 0.2 -W 3 192.168.2.2").into_iter().for_each(|said| drop(said.unwrap()));
        let files = Scratch::new("router", "routes-file");
        let mut text = String::from("# Networks behind the other router.\n\n");
        for net in 0..1000u32 {
            writeln!(text, "10.50.{}.{}/30 and what follows", net / 64, net % 64 * 4).unwrap();
        }
        // Who says that there is no way further: the near router, or the far one.
        let refused = |world: &World| {
            both(world, "ping -n -c 1 -W 2 10.50.15.157").into_iter().map(Result::unwrap_err).map(|said| {
                let from = said.split_once("From ").and_then(|(_, from)| from.split_whitespace().next());
                from.unwrap_or_else(|| panic!("nobody answers: {said}")).to_owned()
            })
        };
        let [near, far] = ["192.168.1.1", "192.168.12.2"];
        let broken = files.write("broken.txt", format!("{text}10.50.0.1/24\n"));
        let said = world.routers[0].ask(&format!("routes red {broken} red-middle red-out")).unwrap_err();
        assert!(said.contains("broken.txt:1003") && said.contains("10.50.0.1/24"), "{said}");
        assert!(refused(world).eq([near, near]), "nothing of a broken file stands");
        let file = files.write("routes.txt", text);
        let before = routes(world);
        world.routers[0].tell(&format!("routes red {file} red-middle red-out"));
        assert_eq!(routes(world), [before[0] + 1000, before[1]]);
        assert!(refused(world).eq([far, near]), "red has them, blue does not");
        // What was there stands, and each of them can be taken away.
        both(world, "ping -n -c 1 -W 2 192.168.2.2").into_iter().for_each(|said| drop(said.unwrap()));
        world.routers[0].tell("route del red 10.50.15.156/30");
        assert!(refused(world).eq([near, near]));
    });
}

/// Routes of each slice at the first router.
fn routes(world: &mut World) -> [u64; 2] {
    let report: serde_json::Value = serde_json::from_str(&world.routers[0].tell("report")).unwrap();
    SLICES.map(|slice| report["managers"][slice.name]["routes"].as_u64().unwrap())
}
