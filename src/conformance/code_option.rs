//! The kit of [`CodeOption`].

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::AtomicU32;

use crate::code_option::{Answer, CodeOption, Context, Outgoing, Query};
use crate::exit::Exit;
use crate::id::{LinkId, SliceId};
use crate::packet::Packet;
use crate::slot::{DscpModel, Endpoint};
use crate::sram::{Region, SliceSram, SramBank, Words};
use crate::time::Nanos;

use super::{Rng, near};

/// Words of each slice beside the option's own.
const BESIDE: usize = 16;

/// Octets behind the packet that are not the packet's.
const TAILROOM: usize = 64;

/// Checks an option on `sample` and on every truncation and every bit flip of it, on
/// random damage and on noise; with answers, carried words and MTUs that make sense or
/// none; in any context. `memory` is what the slice's memory holds at first, for some
/// of the packets anything else.
///
/// - Total: nothing makes it panic.
/// - The same call on the same memory has the same result, and leaves the same packet
///   and memory, whatever calls came between.
/// - No result depends on what lies around the packet or in another slice's memory,
///   and nothing there is written.
/// - A packet that becomes an exception or a drop is as it was, to the octet, and so
///   is the room around it.
///
/// ```
/// use fastpath::code_option::ipv4::Ipv4;
/// use fastpath::conformance;
///
/// let sample = [0x45, 0, 0, 20, 0, 0, 0, 0, 64, 17, 0xf9, 0x3d, 192, 168, 0, 1, 10, 1, 2, 3];
/// conformance::code_option(Ipv4::default(), &sample, &[], 1);
/// ```
///
/// # Panics
///
/// At the first breach, or if the sample is never forwarded.
pub fn code_option(option: impl CodeOption, sample: &[u8], memory: &[u32], seed: u64) {
    let (before, own, behind) = (SliceId(1), SliceId(2), SliceId(3));
    let words: Box<[AtomicU32]> = (0..memory.len() + 2 * BESIDE).map(|_| AtomicU32::new(0)).collect();
    let bank = SramBank::new(words, [const { Region::NONE }; 4]);
    for (slice, words) in [(before, BESIDE), (own, memory.len()), (behind, BESIDE)] {
        bank.assign(slice, words as u32).expect("the bank has room for the three");
    }
    fill(bank.region(own), memory);
    code_option_in(option, sample, &bank, own, &[before, behind], seed);
}

/// [`code_option`] for an option that works for `slice` of a given memory: one that
/// holds a reference to it, say. Overwrites the words of `slice`, which are taken as
/// they are at first, and those of the slices `beside` it.
///
/// # Panics
///
/// As [`code_option`].
pub fn code_option_in(
    option: impl CodeOption, sample: &[u8], sram: &(impl SliceSram + ?Sized), slice: SliceId,
    beside: &[SliceId], seed: u64,
) {
    assert!(!beside.contains(&slice), "code_option: the slice is named twice");
    let mut rng = Rng::new(seed);
    let place = Place { sram, slice, beside };
    let memory = read(sram.region(slice));
    let mut forwarded = 0;
    for (at, octets) in near(sample, 1024, &mut rng).into_iter().enumerate() {
        // The sample itself comes first, and is to be forwarded.
        for round in 0..if at == 0 { 32 } else { 4 } {
            let call = draw(&mut rng, octets.clone(), &memory, slice, round);
            let first = place.run(&option, &call, 0xa5);
            if rng.one_in(4) {
                // Another packet comes between, which an option that remembers would.
                let other = draw(&mut rng, sample.to_vec(), &memory, slice, round);
                place.run(&option, &other, 0xa5);
            }
            place.run(&option, &call, 0xa5).agrees(&first, &call, "the same call twice");
            place.run(&option, &call, 0x3c).agrees(
                &first,
                &call,
                "what lies around the packet, or in another slice's memory, changed",
            );
            forwarded += u32::from(at == 0 && first.formatted.is_ok());
        }
    }
    Exit::all().for_each(|exit| {
        assert_eq!(option.own_name(exit), option.own_name(exit), "code_option: two names for {exit}");
    });
    fill(sram.region(slice), &memory);
    assert!(forwarded > 0, "code_option: the sample must be a packet that the option forwards");
}

/// The memory that an option works in.
struct Place<'a, M: ?Sized> {
    sram: &'a M,
    slice: SliceId,
    beside: &'a [SliceId],
}

/// All that a run's result may depend on.
#[derive(Debug)]
struct Call {
    octets: Vec<u8>,
    headroom: usize,
    memory: Vec<u32>,
    cx: Context<'static>,
    answer: Answer,
    /// Whether the answer carries what `parse` said.
    parsed: bool,
}

/// All that it may show.
struct Outcome {
    query: Result<Query, Exit>,
    formatted: Result<Outgoing, Exit>,
    octets: Vec<u8>,
    memory: Vec<u32>,
    flow_hash: u32,
}

fn draw(rng: &mut Rng, octets: Vec<u8>, memory: &[u32], slice: SliceId, round: u32) -> Call {
    let plain = round == 0 || rng.one_in(2);
    let mut memory = memory.to_vec();
    if !plain && rng.one_in(4) {
        memory.iter_mut().for_each(|word| *word = rng.bits() as u32);
    }
    let word = match rng.below(4) {
        0 => rng.bits(),
        1 => rng.pick(&[0, u64::MAX, 1 << 63]),
        _ => rng.below(4),
    };
    let carry = match rng.below(4) {
        0 => rng.pick(&[0, u64::MAX, 1 << 63]),
        1 => rng.below(1 << 16),
        2 => 1 << rng.below(64),
        _ => rng.bits(),
    };
    let mtu = match rng.below(4) {
        _ if plain => u16::MAX,
        0 => rng.bits() as u16,
        1 => octets.len() as u16,
        2 => (octets.len() as u16).saturating_sub(1),
        _ => rng.pick(&[0, 1, 20, u16::MAX]),
    };
    let mut cx = Context::of(slice);
    if !plain {
        cx.link = LinkId(rng.bits() as u16);
        cx.now = Nanos(rng.bits());
        cx.source = Endpoint::v4(rng.bits() as u32, rng.bits() as u16);
        cx.outer_class = rng.bits() as u8;
        cx.dscp = rng.pick(&[DscpModel::Pipe, DscpModel::Uniform]);
        cx.injected = rng.one_in(4);
    }
    Call {
        octets,
        headroom: if plain { 128 } else { rng.pick(&[0, 3, 128]) },
        memory,
        cx,
        answer: Answer { word, carry, mtu },
        parsed: plain || rng.one_in(2),
    }
}

impl<M: SliceSram + ?Sized> Place<'_, M> {
    /// One packet through the option, amid canaries that follow from `canary`.
    fn run(&self, option: &impl CodeOption, call: &Call, canary: u8) -> Outcome {
        let own = self.sram.region(self.slice);
        fill(own, &call.memory);
        for other in self.beside {
            let region = self.sram.region(*other);
            (0..region.len()).for_each(|at| assert!(region.set(at, beside(*other, at, canary)).is_some()));
        }
        let (start, end) = (call.headroom, call.headroom + call.octets.len());
        let mut buf = vec![canary; end + TAILROOM];
        buf[start..end].copy_from_slice(&call.octets);
        let before = buf.clone();
        let mut packet = Packet::new(buf, start as u32, end as u32).expect("start..end is inside");

        let cx = Context { sram: own, ..call.cx };
        let query = option.parse(packet.bytes(), &cx);
        let carry = if call.parsed { query.map(|query| query.carry) } else { Ok(call.answer.carry) };
        let formatted = carry.and_then(|carry| {
            let found = Answer { carry, ..call.answer };
            packet.edit(packet.whole(), |packet| option.format(packet, found, &cx))
        });
        let flow_hash = option.flow_hash(&call.octets);
        assert_eq!(
            flow_hash,
            option.flow_hash(&call.octets),
            "code_option: two flow hashes of {:02x?}",
            call.octets
        );

        for other in self.beside {
            let region = self.sram.region(*other);
            let same = (0..region.len()).all(|at| region.get(at) == Some(beside(*other, at, canary)));
            assert!(same, "code_option: wrote memory of slice {other}, by {call:02x?}");
        }
        let octets = packet.bytes().to_vec();
        if let Err(exit) = formatted {
            assert!(octets == call.octets, "code_option: {exit}, but the packet was changed, by {call:02x?}");
        }
        let after = packet.into_buf();
        assert_eq!(after[end..], before[end..], "code_option: wrote behind the packet, by {call:02x?}");
        if let Err(exit) = formatted {
            assert!(
                after == before,
                "code_option: {exit}, but octets around it were changed, by {call:02x?}"
            );
        }
        Outcome { query, formatted, octets, memory: read(own), flow_hash }
    }
}

impl Outcome {
    fn agrees(&self, first: &Self, call: &Call, but: &str) {
        assert_eq!(self.query, first.query, "code_option: parse has two results ({but}): {call:02x?}");
        assert_eq!(
            self.formatted, first.formatted,
            "code_option: format has two results ({but}): {call:02x?}"
        );
        assert_eq!(self.octets, first.octets, "code_option: format leaves two packets ({but}): {call:02x?}");
        assert_eq!(
            self.memory, first.memory,
            "code_option: the memory ends up in two ways ({but}): {call:02x?}"
        );
        assert_eq!(self.flow_hash, first.flow_hash, "code_option: two flow hashes ({but}): {call:02x?}");
    }
}

/// What word `at` of another slice holds.
const fn beside(slice: SliceId, at: usize, canary: u8) -> u32 {
    (slice.0 as u32) << 24 | (canary as u32) << 16 | at as u32
}

fn fill(region: Words<'_>, words: &[u32]) {
    assert_eq!(region.len(), words.len(), "code_option: the slice's region has changed");
    for (at, word) in words.iter().enumerate() {
        assert!(region.set(at, *word).is_some(), "code_option: the slice's region has changed");
    }
}

fn read(region: Words<'_>) -> Vec<u32> {
    (0..region.len()).filter_map(|at| region.get(at)).collect()
}
