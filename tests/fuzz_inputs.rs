//! What fuzzing feeds the pipeline is worth feeding: octets drawn at random become frames
//! of which many are forwarded, and the others leave in all ways.

#[allow(dead_code, unreachable_pub, reason = "public for the fuzz targets, which use the rest")]
#[path = "../fuzz/src/lib.rs"]
mod inputs;

use inputs::{Answers, Cursor, Done, Tally, decap, frame, ipv4, lookup_ops, manager, pipeline, tunnels};

/// SplitMix64: the same octets in each run.
struct Octets(u64);

impl Octets {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn take(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}

const INPUTS: u64 = 10_000;

#[test]
fn a_third_of_the_frames_is_forwarded() {
    let mut octets = Octets(1);
    let (mut sum, mut useful) = (Tally::default(), 0);
    for _ in 0..INPUTS {
        let len = octets.next() as usize % 1024;
        let tally = pipeline(&octets.take(len));
        useful += u64::from(tally.forwarded > 0);
        sum.received += tally.received;
        sum.forwarded += tally.forwarded;
        sum.dropped += tally.dropped;
        sum.slow_path += tally.slow_path;
    }
    println!("{useful} of {INPUTS} inputs; {sum:?}");
    assert_eq!(sum.received, sum.forwarded + sum.dropped + sum.slow_path);
    assert!(sum.forwarded * 3 >= sum.received, "{sum:?}");
    assert!(useful * 3 >= INPUTS, "{useful} inputs forward something");
    assert!(sum.dropped * 20 >= sum.received && sum.slow_path * 20 >= sum.received, "{sum:?}");
}

#[test]
fn tunnels_lead_back_and_damage_is_noticed() {
    let (mut octets, mut admitted) = (Octets(5), 0);
    for _ in 0..INPUTS {
        let seed = octets.take(100);
        let edit = octets.take(3);
        admitted += u64::from(tunnels(&seed, &[(edit[0], edit[1])], edit[2] & 7));
    }
    println!("{admitted} of {INPUTS} damaged frames were admitted");
    assert!((INPUTS / 20..INPUTS * 9 / 10).contains(&admitted), "{admitted}");
}

#[test]
fn decapsulation_and_ipv4_agree_with_etherparse() {
    let mut octets = Octets(2);
    let (mut sound, mut admitted, mut forwarded) = (0, 0, 0);
    for _ in 0..INPUTS {
        let seed = octets.take(256);
        let mut shape = frame(&mut Cursor(&seed));
        sound += u32::from(shape.sound);
        let taken = decap(&shape.octets);
        assert!(taken || !shape.sound || shape.outer.is_none(), "not admitted: {shape:x?}");
        admitted += u32::from(taken);
        if let Some((_, at)) = &shape.inner {
            forwarded += u32::from(ipv4(&[&seed[..4], &shape.octets[at.start..]].concat()));
        }
        let at = octets.next() as usize % shape.octets.len().max(1);
        if let Some(octet) = shape.octets.get_mut(at) {
            *octet ^= 1 << (octets.next() % 8);
        }
        decap(&shape.octets);
        decap(&seed);
        ipv4(&seed);
    }
    println!("{sound} sound, {admitted} admitted, {forwarded} forwarded");
    assert!(sound > 2500, "{sound} sound frames");
    assert!(admitted > 5000 && forwarded > 1000, "{admitted} admitted, {forwarded} forwarded");
}

#[test]
fn histories_fill_and_empty_tables_of_all_engines() {
    const HISTORIES: usize = 120;
    let mut octets = Octets(3);
    let (mut sum, mut engines) = (Done::default(), [false; 4]);
    for _ in 0..HISTORIES {
        let len = octets.next() as usize % 1024;
        let done = lookup_ops(&octets.take(len));
        sum.inserted += done.inserted;
        sum.replaced += done.replaced;
        sum.removed += done.removed;
        sum.loaded += done.loaded;
        sum.refused += done.refused;
        sum.found += done.found;
        sum.several += done.several;
        engines.iter_mut().zip(done.engines).for_each(|(all, seen)| *all |= seen);
    }
    println!("{sum:?}, {engines:?}");
    assert_eq!(engines, [true; 4]);
    assert!(sum.removed * 2 > sum.inserted && sum.inserted > 10_000, "{sum:?}");
    assert!(sum.replaced > 1000 && sum.loaded > 50 && sum.refused > 1000, "{sum:?}");
    assert!(sum.several * 2 > sum.found && sum.found > 10_000, "{sum:?}");
}

#[test]
fn managers_answer_send_on_and_stay_silent() {
    let mut octets = Octets(4);
    let mut sum = Answers::default();
    for _ in 0..INPUTS / 4 {
        let len = octets.next() as usize % 1024;
        let answers = manager(&octets.take(len));
        sum.taken += answers.taken;
        sum.sent += answers.sent;
        sum.errors += answers.errors;
        sum.forwarded += answers.forwarded;
    }
    println!("{sum:?}");
    assert!(sum.errors * 20 > sum.taken && sum.forwarded * 25 > sum.taken, "{sum:?}");
    assert!(sum.sent > sum.errors + sum.forwarded, "{sum:?}");
}
