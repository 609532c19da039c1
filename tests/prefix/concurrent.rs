//! One writer, readers: each answer is that of the table before or after an update.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering::*};
use std::time::{Duration, Instant};

use fastpath::epoch::Epochs;
use fastpath::prefix::*;

/// The long prefix comes before the short one goes, and the other way round: a key under
/// both is never without. Answers are those of one of the two.
fn never_without<A: Address>(pairs: &[(u32, u32)], form: Form, seed: impl Fn(u64) -> A + Sync) {
    let (read, mut control) = PrefixTrie::new(form).into_halves();
    let mut epochs = Epochs::new(2);
    let stop = AtomicBool::new(false);
    let barrier = Barrier::new(3);
    let keys: Vec<A> =
        (1..=pairs.len() as u64).map(|n| seed(n.wrapping_mul(0x1234_5678_9abc_def1))).collect();
    for (n, &(short, _)) in pairs.iter().enumerate() {
        control.insert(&read, &mut epochs, Prefix::new(keys[n], short).unwrap(), 1 + 2 * n as u32).unwrap();
    }
    let readers = [epochs.reader().unwrap(), epochs.reader().unwrap()];
    std::thread::scope(|scope| {
        for mut reader in readers {
            scope.spawn(|| {
                let mut found = vec![None; 64];
                let many: Vec<A> = keys.iter().cycle().take(64).copied().collect();
                let most = 2 * keys.len() as u32 + 1000;
                barrier.wait();
                while !stop.load(Relaxed) {
                    read.lookup_batch(&many, &mut found);
                    for (n, found) in found.iter().enumerate() {
                        let found = found.unwrap_or_else(|| panic!("key {} is without", n % keys.len()));
                        assert!(found.get() <= most, "a value that never was: {found}");
                    }
                    for key in &keys {
                        assert!(read.lookup(*key).is_some());
                    }
                    reader.quiescent();
                }
                // Nobody waits for a reader that is gone.
                drop(reader);
            });
        }
        barrier.wait();
        let end = Instant::now() + Duration::from_millis(1500);
        let (mut turns, mut busy) = (0u64, 0u64);
        let mut must = |prefix: Prefix<A>, value: Option<u32>| loop {
            let done = match value {
                Some(value) => control.insert(&read, &mut epochs, prefix, value),
                None => control.remove(&read, &mut epochs, prefix).map_err(InsertError::from),
            };
            match done {
                Ok(_) => break,
                Err(InsertError::Update(UpdateError::Busy)) => {
                    busy += 1;
                    std::thread::yield_now();
                }
                Err(error) => panic!("{error}"),
            }
        };
        while Instant::now() < end {
            turns += 1;
            for (n, &(short, long)) in pairs.iter().enumerate() {
                let of = |len| Prefix::new(keys[n], len).unwrap();
                let value = 1 + 2 * n as u32;
                must(of(long), Some(value + 1));
                must(of(short), None);
                // Something else nearby.
                let near = keys[n].masked(long.min(A::BITS - 1)).with(seed(turns), long.min(A::BITS - 1));
                let near = Prefix::new(near, (long + 3).min(A::BITS)).unwrap();
                if near != of(long) {
                    must(near, Some(1000));
                    must(near, None);
                }
                must(of(short), Some(value));
                must(of(long), None);
            }
        }
        stop.store(true, Relaxed);
        println!("{turns} turns, {busy} times busy");
        assert!(turns > 10);
    });
}

#[test]
fn a_covered_key_is_never_without_v4() {
    let pairs =
        [(0, 24), (8, 16), (9, 10), (12, 20), (18, 24), (20, 24), (22, 32), (24, 25), (17, 18), (1, 9)];
    let form = Form { direct_bits: Some(18), spare: 1000, waiting: Some(1 << 16), ..Form::default() };
    for flat in [false, true] {
        let form = Form { flat: Some(flat), ..form };
        never_without::<u32>(&pairs, form, |x| ((x >> 24) as u32).wrapping_mul(0x9e37_79b9));
    }
}

/// Two keys with more values than there are codes, one even and one odd: a code that stood for
/// a value of the one is given to one of the other only once no reader looks at it.
#[test]
fn a_key_never_has_the_value_of_another() {
    let form = Form { direct_bits: Some(8), flat: Some(true), spare: 1000, ..Form::default() };
    let (read, mut control) = PrefixTrie::<u32>::new(form).into_halves();
    let mut epochs = Epochs::new(1);
    let mut reader = epochs.reader().unwrap();
    let stop = AtomicBool::new(false);
    let keys = [0x0a00_0000, 0x0b00_0000];
    let mut update = |value: u32| {
        let key = keys[value as usize % 2] + ((value / 2 % 16) << 20);
        let prefix = Prefix::new(key, 12).unwrap();
        while control.insert(&read, &mut epochs, prefix, value).is_err() {
            std::thread::yield_now();
        }
    };
    (1000..1032).for_each(&mut update);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Relaxed) {
                let many: [u32; 32] = std::array::from_fn(|n| keys[n % 2] + ((n as u32 / 2) << 20));
                let mut found = [None; 32];
                read.lookup_batch(&many, &mut found);
                for (n, (key, found)) in many.iter().zip(found).enumerate() {
                    let alone = read.lookup(*key);
                    assert!(found.is_some_and(|value| value.get() as usize % 2 == n % 2), "{found:?}");
                    assert!(alone.is_some_and(|value| value.get() as usize % 2 == n % 2), "{alone:?}");
                }
                reader.quiescent();
            }
        });
        let end = Instant::now() + Duration::from_millis(1000);
        let mut value = 1000;
        while Instant::now() < end {
            (value..value + 1000).for_each(&mut update);
            value = if value < 1 << 20 { value + 1000 } else { 1000 };
        }
        stop.store(true, Relaxed);
    });
}

#[test]
fn a_covered_key_is_never_without_v6() {
    let pairs = [(0, 48), (3, 64), (19, 32), (32, 48), (40, 41), (30, 128), (12, 20), (64, 65)];
    let form =
        Form { direct_bits: Some(12), skip: Some(3), spare: 1000, waiting: Some(1 << 16), ..Form::default() };
    let seed = |x: u64| {
        (u128::from(x) | u128::from(x) << 64).wrapping_mul(0x9e37_79b9_7f4a_7c15_0123_4567_89ab_cdef) >> 3
    };
    for open in [false, true] {
        never_without::<u128>(&pairs, Form { open: Some(open), ..form }, seed);
    }
    let ranges = Form { skip: Some(0), ranges: Some(true), ..form };
    never_without::<u128>(&pairs, ranges, seed);
}
