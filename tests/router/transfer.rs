//! curl fetches a file over TCP, in both slices at once.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::Command;
use std::sync::Arc;
use std::thread;

use crate::world::{Plan, SLICES, with_world};

/// Octets of each slice's file, unless `FASTPATH_ROUTER_OCTETS` says otherwise.
const OCTETS: usize = 100_000_000;

#[test]
fn a_file_arrives_as_it_is() {
    let octets = std::env::var("FASTPATH_ROUTER_OCTETS").map_or(OCTETS, |octets| octets.parse().unwrap());
    // TCP is told of the narrower way, and sends shorter packets from then on.
    with_world("curl", Plan { mtu: 1300, ..Plan::default() }, |world| {
        let mut fetching = Vec::new();
        for (number, slice) in (1..).zip(SLICES) {
            let file = Arc::new(file(number, octets));
            let [here, there] = ["a", "b"].map(|side| format!("{}{side}", slice.name));
            let listener = world.net.inside(&there, || TcpListener::bind("0.0.0.0:80").unwrap());
            let listener = listener.join().unwrap();
            let served = Arc::clone(&file);
            // It ends with its one client, or with the test.
            thread::spawn(move || serve(&listener, &served));
            let mut curl = Command::new("curl");
            curl.args(["-sS", "--max-time", "300", "http://192.168.2.2/"]);
            fetching.push((file, world.net.inside(&here, move || curl.output().unwrap())));
        }
        for (file, fetched) in fetching {
            let fetched = fetched.join().unwrap();
            let said = String::from_utf8_lossy(&fetched.stderr);
            assert!(fetched.status.success(), "{said}");
            assert!(fetched.stdout == *file, "{} of {} octets, or others", fetched.stdout.len(), file.len());
        }
    });
}

/// Octets that do not repeat, others for each `seed`.
fn file(seed: u64, octets: usize) -> Vec<u8> {
    let mut state = seed;
    let words = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 32) as u32
    });
    words.flat_map(u32::to_be_bytes).take(octets).collect()
}

/// Answers one request with a file.
fn serve(listener: &TcpListener, file: &[u8]) {
    let (mut client, _) = listener.accept().unwrap();
    let request = BufReader::new(client.try_clone().unwrap());
    for line in request.lines().map_while(Result::ok) {
        if line.is_empty() {
            break;
        }
    }
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", file.len());
    // Who fetches says what is missing.
    let _ = client.write_all(head.as_bytes()).and_then(|()| client.write_all(file));
}
