//! What is wrong is named, and nothing has started.

use std::net::UdpSocket;

use crate::net::Unable;
use crate::oracle;
use crate::program::Router;
use crate::scratch::Scratch;
use crate::world::{Plan, Side, config, machines, with_world};

#[test]
fn a_configuration_that_cannot_be_is_refused_by_name() {
    let net = match machines("refuse") {
        Ok(net) => net,
        Err(Unable(reason)) => return oracle::skip(&format!("refusals: {reason}")),
    };
    let scratch = Scratch::new("router", "refuse");
    let good = config(Side::A, Plan::default());
    let refused = |by: &[&str], text: &str, named: &[&str]| {
        let file = scratch.write("bad.toml", text);
        let started = Router::start_by(&net, "ra", by, &["--config", &file]);
        let Err((status, said)) = started else { panic!("it starts without {named:?}") };
        assert_eq!(status, 2, "{named:?}: {said}");
        for word in named {
            assert!(said.contains(word), "{word} is not named: {said}");
        }
        assert!(!said.contains("panicked"), "{said}");
    };
    refused(&[], &good.replace("packet:hosts", "packet:nothere"), &["nothere"]);
    refused(&[], &good.replace("packet:hosts", "carrier pigeon"), &["device", "carrier pigeon"]);
    refused(
        &[],
        &good.replacen("link = \"red-middle\"", "link = \"nowhere\"", 1),
        &["link", "nowhere", "bad.toml"],
    );
    refused(&[], &good.replace("10.0.2.1\"", "10.0.99.1\""), &["10.0.99.1"]);
    let taken = net.inside("ra", || UdpSocket::bind("10.0.2.1:20001").unwrap()).join().unwrap();
    refused(&[], &good, &["10.0.2.1:20001", "in use"]);
    drop(taken);
    refused(&["setpriv", "--bounding-set=-all", "--inh-caps=-all"], &good, &["hosts", "ermi"]);
    // It was those alone.
    let file = scratch.write("good.toml", &good);
    let router = Router::start(&net, "ra", &["--config", &file]);
    router.unwrap_or_else(|said| panic!("{said:?}")).quit();
}

#[test]
fn a_command_that_cannot_be_is_answered_and_changes_nothing() {
    with_world("garbage", Plan::default(), |world| {
        for (command, named) in [
            ("", ""),
            ("garbage", "garbage"),
            ("route add", "route add"),
            ("route add red 192.168.2.0/24 nowhere red-out", "nowhere"),
            ("route add red 192.168.2.0/24 red-middle nowhere", "nowhere"),
            ("route add green 192.168.2.0/24 red-middle red-out", "green"),
            ("route add red 192.168.2.1/24 red-middle red-out", "192.168.2.1/24"),
            ("route add red 192.168.2.0/33 red-middle red-out", "192.168.2.0/33"),
            ("route del red 203.0.113.0/24", ""),
            ("routes red /nothere red-middle red-out", "/nothere"),
            ("slice admit red", "red"),
            ("slice withdraw green", "green"),
            ("peer red red-middle anywhere", "anywhere"),
            ("rate nowhere 1000", "nowhere"),
            ("queue add red more nowhere weight=1", "nowhere"),
            ("queue add red red-out middle", "red-out"),
            ("queue add red more middle weight=0", "weight=0"),
            ("queue add red more middle wait=0", "wait"),
            ("queue add red more middle red=9-5", "limits only"),
            ("queue add red more middle priority=yes", "come before others"),
            ("queue set red nowhere weight=1", "nowhere"),
            ("queue remove red red-out away", "away"),
            ("queue remove red red-in send", "reached by this queue"),
            ("queue share green middle 5", "green"),
            ("police red 5 5", "rate=5"),
            ("police red 5000 5 nowhere", "nowhere"),
            ("rate middle 0", ""),
            ("\u{1b}[0m\u{0}", ""),
        ] {
            let said = world.routers[0].ask(command).expect_err(command);
            assert!(said.contains(named), "{command}: {said}");
        }
        world.net.run("reda", "ping -n -c 2 -i 0.2 -W 3 192.168.2.2").unwrap();
    });
}

#[test]
fn queues_and_policers_change_while_hosts_talk() {
    with_world("queues", Plan::default(), |world| {
        let ask = |world: &mut crate::world::World, command: &str| {
            world.routers[0].ask(command).unwrap_or_else(|said| panic!("{command}: {said}"))
        };
        let ping = "ping -n -c 2 -i 0.2 -W 3 192.168.2.2";
        ask(world, "queue add red more middle weight=3 limit_packets=50");
        ask(world, "route add red 192.168.2.0/24 red-middle more");
        world.net.run("reda", ping).unwrap();
        ask(world, "queue set red more weight=2");
        ask(world, "queue remove red more send");
        assert!(world.net.run("reda", "ping -n -c 1 -W 1 192.168.2.2").is_err(), "it leads nowhere");
        ask(world, "route add red 192.168.2.0/24 red-middle red-out");
        world.net.run("reda", ping).unwrap();
        ask(world, "police red 1000 1");
        assert!(world.net.run("reda", "ping -n -c 1 -W 1 192.168.2.2").is_err(), "nothing may come in");
        ask(world, "police red off");
        world.net.run("reda", ping).unwrap();
    });
}
