//! Code options.

use core::cell::Cell;
use core::sync::atomic::AtomicU32;

use fastpath::code_option::ipv4::{ClassField, Ipv4, Martians};
use fastpath::code_option::{Answer, CodeOption, Context, Outgoing, Query};
use fastpath::conformance::{self, code_option_in};
use fastpath::exit::{DropReason, Exception, Exit};
use fastpath::id::SliceId;
use fastpath::key::LookupKey;
use fastpath::packet::PacketMut;
use fastpath::sram::{Region, SliceSram, SramBank};

const IPV4: [u8; 28] = [
    0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0xf9, 0x35, 192, 168, 0, 1, 10, 1, 2, 3, 0, 53, 0x30, 0x39, 0, 8, 0,
    0,
];

#[test]
fn ipv4_is_a_code_option() {
    conformance::code_option(Ipv4::default(), &IPV4, &[], 1);
    let by_reference = &Ipv4::new(Martians::RFC_1812, ClassField::Dscp);
    conformance::code_option(by_reference, &IPV4, &[1, 2, 3], 2);
    let mut padded = IPV4.to_vec();
    padded.resize(46, 0);
    conformance::code_option(Box::new(Ipv4::default()), &padded, &[], 3);
}

/// Packets of a hop count and a label, which is looked up and replaced; counts those
/// it forwards in word 0.
struct Label<F>(F);

type Hop = fn(&mut PacketMut<'_>, Answer, &Context<'_>) -> Result<(), Exit>;

fn hop(packet: &mut PacketMut<'_>, found: Answer, cx: &Context<'_>) -> Result<(), Exit> {
    let [hops, label, ..] = packet.bytes_mut() else { return Err(DropReason::Truncated.into()) };
    let Some(left @ 1..) = hops.checked_sub(1) else { return Err(Exception::Expired.into()) };
    (*hops, *label) = (left, found.word as u8);
    cx.sram.fetch_add(0, 1);
    Ok(())
}

impl<F: Fn(&mut PacketMut<'_>, Answer, &Context<'_>) -> Result<(), Exit>> CodeOption for Label<F> {
    fn parse(&self, packet: &[u8], _: &Context<'_>) -> Result<Query, Exit> {
        let &[hops, label, ..] = packet else { return Err(DropReason::Truncated.into()) };
        Ok(Query { key: LookupKey::new(label.into()), carry: hops.into() })
    }
    fn format(&self, packet: &mut PacketMut<'_>, found: Answer, cx: &Context<'_>) -> Result<Outgoing, Exit> {
        (self.0)(packet, found, cx).map(|()| Outgoing::default())
    }
}

const LABELLED: [u8; 6] = [9, 1, 2, 3, 4, 5];

fn check(format: impl Fn(&mut PacketMut<'_>, Answer, &Context<'_>) -> Result<(), Exit>) {
    conformance::code_option(Label(format), &LABELLED, &[0, 7], 1);
}

#[test]
fn the_kit_takes_a_careful_option() {
    check(hop as Hop);
    // One that grows the packet, where there is room.
    check(|packet, found, cx| {
        hop(packet, found, cx)?;
        if packet.push(&[1, 2, 3, 4]).is_err() {
            packet.truncate(2);
        }
        Ok(())
    });
}

#[test]
#[should_panic(expected = "but the packet was changed")]
fn the_kit_catches_that_it_writes_before_it_checks() {
    check(|packet, found, cx| {
        let [hops, ..] = packet.bytes_mut() else { return Err(DropReason::Truncated.into()) };
        *hops = hops.saturating_sub(1);
        if *hops == 0 { Err(Exception::Expired.into()) } else { hop(packet, found, cx) }
    });
}

#[test]
#[should_panic(expected = "but octets around it were changed")]
fn the_kit_catches_scribbles_in_the_headroom() {
    check(|packet, found, cx| {
        let _ = packet.push(&[0; 3]).map(|_| ());
        let _ = packet.pull(3);
        hop(packet, found, cx)
    });
}

#[test]
#[should_panic(expected = "format leaves two packets (the same call twice)")]
fn the_kit_catches_state_in_a_cell() {
    let serial = Cell::new(0u8);
    check(|packet, found, cx| {
        hop(packet, found, cx)?;
        serial.set(serial.get().wrapping_add(1));
        packet.bytes_mut()[1] = serial.get();
        Ok(())
    });
}

#[test]
#[should_panic(expected = "format has two results (the same call twice)")]
fn the_kit_catches_an_option_that_remembers_the_packet_before() {
    let last = Cell::new(0u64);
    check(|packet, found, cx| {
        if last.replace(found.word) != found.word {
            Err(Exception::Local.into())
        } else {
            hop(packet, found, cx)
        }
    });
}

#[test]
#[should_panic(expected = "divide by zero")]
fn the_kit_catches_an_option_that_panics_on_an_answer() {
    check(|packet, found, cx| {
        let _ = 100 / found.word;
        hop(packet, found, cx)
    });
}

#[test]
#[should_panic(expected = "index out of bounds")]
fn the_kit_catches_trust_in_the_carried_word() {
    check(|packet, found, cx| {
        hop(packet, found, cx)?;
        let last = packet.octets().min(9);
        // `parse` never carries more than the packet's first octet.
        packet.bytes_mut()[(found.carry as usize).min(last)] = 0;
        Ok(())
    });
}

#[test]
#[should_panic(expected = "the sample must be a packet that the option forwards")]
fn the_kit_asks_for_a_sample_that_is_forwarded() {
    conformance::code_option(Label(hop), &[0, 1, 2], &[0, 7], 1);
}

/// Memory of slices 1 to 3, 8 words each.
fn bank() -> SramBank<[AtomicU32; 24], [Region; 4]> {
    let bank = SramBank::new([const { AtomicU32::new(0) }; 24], [const { Region::NONE }; 4]);
    (1..4).for_each(|slice| bank.assign(SliceId(slice), 8).unwrap());
    bank
}

fn check_in_bank(format: impl Fn(&SramBank<[AtomicU32; 24], [Region; 4]>) -> Result<u8, Exit>) {
    let bank = bank();
    let option = Label(|packet: &mut PacketMut<'_>, found: Answer, cx: &Context<'_>| {
        let mark = format(&bank)?;
        hop(packet, Answer { word: found.word.wrapping_add(mark.into()), ..found }, cx)
    });
    code_option_in(option, &LABELLED, &bank, SliceId(2), &[SliceId(1), SliceId(3)], 1);
}

#[test]
fn the_kit_takes_an_option_that_holds_its_memory() {
    check_in_bank(|bank| Ok(bank.region(SliceId(2)).get(7).unwrap() as u8));
}

#[test]
#[should_panic(expected = "or in another slice's memory, changed")]
fn the_kit_catches_an_option_that_reads_other_memory() {
    check_in_bank(|bank| Ok((bank.region(SliceId(1)).get(7).unwrap() >> 16) as u8));
}

#[test]
#[should_panic(expected = "wrote memory of slice 3")]
fn the_kit_catches_an_option_that_writes_other_memory() {
    check_in_bank(|bank| {
        bank.region(SliceId(3)).fetch_add(0, 1);
        Ok(0)
    });
}
