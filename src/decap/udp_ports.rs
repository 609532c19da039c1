//! Links by UDP destination address and port, over IPv4.

use core::net::Ipv4Addr;

use crate::decap::probing::{self, Probed};
use crate::decap::{Decap, Inner};
use crate::exit::DropReason::{self, Malformed, OuterFragment, OuterProtocol, Truncated, UnknownSlice};
use crate::id::SliceId;
use crate::slot::{Admission, Endpoint, Layer, RxMeta};
use crate::store::Store;
use crate::wire::ethernet::{self, Ethernet};
use crate::wire::ipv4::Ipv4;
use crate::wire::transport::{self, UDP_HEADER, Udp};
use crate::wire::{self, checksum};

/// Whether a UDP checksum other than 0 is verified. 0 always passes (RFC 768).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum UdpChecksum {
    /// No: it covers the payload, which has checksums of its own. Tunnel protocols
    /// permit this (RFC 7348, section 4.1).
    #[default]
    Skip,
    /// Yes, at about 0.2 ns for each 16 octets of payload.
    Verify,
}

/// What a port admits to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PortConfig {
    /// The slice, link and code option.
    pub admission: Admission,
    /// What is asked of the UDP checksum.
    pub udp_checksum: UdpChecksum,
}

impl PortConfig {
    /// Admits to `admission` and skips the UDP checksum.
    pub const fn new(admission: Admission) -> Self {
        Self { admission, udp_checksum: UdpChecksum::Skip }
    }
}

/// Why a port was not opened. Nothing has changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Address and port are another link's.
    #[error("{address}:{port} is open already, for slice {slice}: close it first")]
    Taken {
        /// The address asked for.
        address: Ipv4Addr,
        /// The port asked for.
        port: u16,
        /// Whose it is.
        slice: SliceId,
    },
    /// All entries but one hold a port; one must stay free.
    #[error("all of the {entries} entries are taken: make the table with more")]
    Full {
        /// Entries of the table.
        entries: usize,
    },
    /// The substrate has no packets of its own.
    #[error("slice 0 is the substrate's account: a link belongs to a slice from 1 on")]
    Substrate,
}

/// An entry of a [`UdpPorts`].
#[derive(Clone, Copy, Debug)]
pub struct PortEntry {
    /// Address and port below [`OPEN`] and [`VERIFY`], or 0 for none.
    key: u64,
    config: PortConfig,
}

impl PortEntry {
    /// No port.
    pub const EMPTY: Self = Self { key: 0, config: PortConfig::new(Admission::NONE) };
}

/// Makes a key differ from that of an empty entry.
const OPEN: u64 = 1 << 63;

/// Makes the key of a port whose UDP checksums are verified another one, so that whoever
/// looks for plain packets does not find it. It has no part in the hash.
const VERIFY: u64 = 1 << 62;

/// Slices by UDP destination address and port: Ethernet with an 802.1Q tag, a service
/// tag, both or none, or nothing, then IPv4, UDP. For all else there is
/// [`Tunnels`](crate::decap::Tunnels).
///
/// A hash table with linear probing, 24 octets an entry. Twice as many entries as
/// ports make most look-ups one cache line; the longest takes as many entries as
/// [`longest_probe`](Self::longest_probe) says, which the operator's ports determine
/// and no packet does. Entries beyond a power of two are not used.
///
/// The outer IPv4 header is checked as RFC 1812 5.2.2 asks: version, header length,
/// total length against the frame, checksum. Options are passed over. Fragments are
/// refused. What a link padded behind the packet is left out. Whether a frame was
/// addressed to this node's MAC address is for the receiver to know.
#[derive(Clone, Debug)]
pub struct UdpPorts<S> {
    /// Invariant: at least one entry in use is empty; an open port stands less than
    /// `probes` entries behind its home, with no empty entry between.
    entries: S,
    shift: u32,
    probes: usize,
    open: usize,
}

/// Compares the part of a frame that must have one value: `mask`ed octets of the
/// IPv4 header from the fragment field on, where protocol and fragment stand.
const SHAPE: (u64, u64) =
    (u64::from_ne_bytes([0x3f, 0xff, 0, 0xff, 0, 0, 0, 0]), u64::from_ne_bytes([0, 0, 0, 17, 0, 0, 0, 0]));

/// Admits a frame whose headers are all plain, in few instructions: `$len` octets of
/// headers, of which `$at` are in front of IPv4. `None` if anything is unusual.
macro_rules! plain {
    ($self:ident, $frame:ident, $len:literal, $at:literal, $link:expr) => {{
        let head = $frame.first_chunk::<$len>()?;
        let (total, udp) = (wire::be16::<{ $at + 2 }, $len>(head), wire::be16::<{ $at + 24 }, $len>(head));
        let [version] = wire::octets::<$at, 1, $len>(head);
        let shape =
            $link(head) && version == 0x45 && wire::ne64::<{ $at + 6 }, $len>(head) & SHAPE.0 == SHAPE.1;
        // UDP fills the packet, and the packet is in the frame.
        let fits = udp >= UDP_HEADER as u16
            && u32::from(total) == u32::from(udp) + 20
            && usize::from(total) + $at <= $frame.len();
        if !shape || !fits || !checksum::header20_ok(&wire::octets::<$at, 20, $len>(head)) {
            return None;
        }
        let (to, port) = (wire::be32::<{ $at + 16 }, $len>(head), wire::be16::<{ $at + 22 }, $len>(head));
        // Only a port without `VERIFY` is found so.
        let config = &$self.find(key(to, port))?.config;
        let [traffic_class] = wire::octets::<{ $at + 1 }, 1, $len>(head);
        Some(Inner {
            admission: config.admission,
            offset: $len,
            len: udp - UDP_HEADER as u16,
            source: Endpoint::v4(
                wire::be32::<{ $at + 12 }, $len>(head),
                wire::be16::<{ $at + 20 }, $len>(head),
            ),
            traffic_class,
        })
    }};
}

#[inline(always)]
const fn key(address: u32, port: u16) -> u64 {
    OPEN | (address as u64) << 16 | port as u64
}

#[inline(always)]
const fn hash(key: u64) -> u64 {
    (key & !VERIFY).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl Probed for PortEntry {
    const EMPTY: Self = Self::EMPTY;

    fn is_empty(&self) -> bool {
        self.key == 0
    }
    fn hash(&self) -> u64 {
        hash(self.key)
    }
}

impl<S: Store<Item = PortEntry>> UdpPorts<S> {
    /// No port open.
    pub fn new(mut entries: S) -> Self {
        entries.items_mut().fill(PortEntry::EMPTY);
        let shift = probing::shift(entries.items().len());
        Self { entries, shift, probes: 0, open: 0 }
    }

    /// Opens `port` of `address` for a link.
    ///
    /// # Errors
    ///
    /// [`OpenError`]; the table is unchanged.
    pub fn open(&mut self, address: Ipv4Addr, port: u16, config: PortConfig) -> Result<(), OpenError> {
        if config.admission.slice == SliceId::SUBSTRATE {
            return Err(OpenError::Substrate);
        }
        let key = key(address.to_bits(), port);
        if let Some(entry) = self.find_any(key) {
            return Err(OpenError::Taken { address, port, slice: entry.config.admission.slice });
        }
        let verify = config.udp_checksum == UdpChecksum::Verify;
        let entry = PortEntry { key: if verify { key | VERIFY } else { key }, config };
        let entries = self.entries.items_mut();
        let full = OpenError::Full { entries: entries.len() };
        // One entry stays empty, so that what closes a port finds the end of its run.
        let probes = probing::insert(entries, self.shift, self.open, entry).ok_or(full)?;
        self.probes = self.probes.max(probes);
        self.open += 1;
        Ok(())
    }

    /// Closes `port` of `address` and returns what it admitted to.
    pub fn close(&mut self, address: Ipv4Addr, port: u16) -> Option<PortConfig> {
        let PortEntry { key, config: found } = *self.find_any(key(address.to_bits(), port))?;
        let hole = self.entries.items().iter().position(|entry| entry.key == key)?;
        self.open -= 1;
        probing::remove(self.entries.items_mut(), self.shift, hole)?;
        Some(found)
    }

    /// Open ports, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (Ipv4Addr, u16, PortConfig)> {
        let open = self.entries.items().iter().filter(|entry| entry.key != 0);
        open.map(|entry| (Ipv4Addr::from_bits((entry.key >> 16) as u32), entry.key as u16, entry.config))
    }

    /// Whether a port is open.
    pub(super) fn is_open(&self, address: Ipv4Addr, port: u16) -> bool {
        self.find_any(key(address.to_bits(), port)).is_some()
    }

    /// Entries that the longest look-up reads.
    pub fn longest_probe(&self) -> usize {
        self.probes
    }

    #[inline(always)]
    fn mask(&self) -> usize {
        (u64::MAX >> self.shift) as usize
    }

    #[inline(always)]
    fn home(&self, key: u64) -> usize {
        (hash(key) >> self.shift) as usize
    }

    #[inline(always)]
    fn find(&self, key: u64) -> Option<&PortEntry> {
        let home = self.home(key);
        let entry = self.entries.items().get(home)?;
        if entry.key == key { Some(entry) } else { self.find_behind(home, key) }
    }

    /// A port of either kind.
    fn find_any(&self, key: u64) -> Option<&PortEntry> {
        self.find(key).or_else(|| self.find(key | VERIFY))
    }

    /// What was pushed away from its home.
    #[inline(never)]
    fn find_behind(&self, home: usize, key: u64) -> Option<&PortEntry> {
        let (entries, mask) = (self.entries.items(), self.mask());
        let mut probes = (1..self.probes).map_while(|distance| entries.get((home + distance) & mask));
        probes.find(|entry| entry.key == key)
    }

    #[inline(always)]
    pub(super) fn plain_ethernet(&self, frame: &[u8]) -> Option<Inner> {
        plain!(self, frame, 42, 14, |head| wire::be16::<12, 42>(head) == ethernet::IPV4)
    }

    #[inline(always)]
    fn plain_ip(&self, frame: &[u8]) -> Option<Inner> {
        plain!(self, frame, 28, 0, |_: &[u8; 28]| true)
    }

    #[inline(always)]
    fn plain_tagged(&self, frame: &[u8]) -> Option<Inner> {
        plain!(self, frame, 46, 18, |head| wire::be16::<12, 46>(head) == ethernet::VLAN
            && wire::be16::<16, 46>(head) == ethernet::IPV4)
    }

    /// All that is no plain Ethernet frame.
    #[inline(never)]
    fn other(&self, frame: &[u8], meta: &RxMeta) -> Result<Inner, DropReason> {
        self.plain_other(frame, meta.layer).map_or_else(|| self.any(frame, meta), Ok)
    }

    /// What is plain, but no untagged Ethernet frame.
    #[inline(always)]
    pub(super) fn plain_other(&self, frame: &[u8], layer: Layer) -> Option<Inner> {
        match layer {
            Layer::Ip => self.plain_ip(frame),
            Layer::Ethernet if frame.get(12..14) == Some(&[0x81, 0x00]) => self.plain_tagged(frame),
            _ => None,
        }
    }

    /// All that is unusual, and what is wrong with the rest.
    #[cold]
    #[inline(never)]
    pub(super) fn any(&self, frame: &[u8], meta: &RxMeta) -> Result<Inner, DropReason> {
        let link_header = match meta.layer {
            Layer::Ethernet => {
                let ethernet = Ethernet::read(frame)?;
                if ethernet.ether_type != ethernet::IPV4 {
                    return Err(OuterProtocol);
                }
                ethernet.header
            }
            Layer::Ip => 0,
            Layer::Stripped => return self.stripped(frame, meta),
            Layer::Injected => return Err(UnknownSlice),
        };
        let octets = frame.get(link_header..).ok_or(Truncated)?;
        if octets.first().is_some_and(|version| version >> 4 == 6) {
            return Err(OuterProtocol);
        }
        let ip = Ipv4::read(octets)?;
        if ip.is_fragment() {
            return Err(OuterFragment);
        }
        if ip.protocol() != wire::ipv4::UDP {
            return Err(OuterProtocol);
        }
        let udp = Udp::read(ip.payload())?;
        let entry = self.find_any(key(ip.destination(), udp.destination)).ok_or(UnknownSlice)?;
        if entry.config.udp_checksum == UdpChecksum::Verify {
            let pseudo = checksum::pseudo_v4(ip.source(), ip.destination(), wire::ipv4::UDP, 0);
            transport::verify_udp(ip.payload(), pseudo)?;
        }
        let offset = link_header + ip.header_len() + UDP_HEADER;
        Ok(Inner {
            admission: entry.config.admission,
            offset: offset as u16,
            len: udp.payload.len() as u16,
            source: Endpoint::v4(ip.source(), udp.source),
            traffic_class: ip.traffic_class(),
        })
    }

    /// What a socket received: its kernel has checked the outer header.
    fn stripped(&self, payload: &[u8], meta: &RxMeta) -> Result<Inner, DropReason> {
        let to = meta.tunnel.destination;
        let address = to.as_v4().ok_or(UnknownSlice)?;
        let entry = self.find_any(key(address, to.port())).ok_or(UnknownSlice)?;
        Ok(Inner {
            admission: entry.config.admission,
            offset: 0,
            len: u16::try_from(payload.len()).map_err(|_| Malformed)?,
            source: meta.tunnel.source,
            traffic_class: meta.tunnel.traffic_class,
        })
    }
}

impl<S: Store<Item = PortEntry>> Decap for UdpPorts<S> {
    #[inline(always)]
    fn decap(&self, frame: &[u8], meta: &RxMeta) -> Result<Inner, DropReason> {
        if meta.layer == Layer::Ethernet
            && let Some(inner) = self.plain_ethernet(frame)
        {
            return Ok(inner);
        }
        // By field, so that the inner packet of a plain frame is never put into memory:
        // it would be read back before it is written.
        let Inner { admission, offset, len, source, traffic_class } = self.other(frame, meta)?;
        Ok(Inner { admission, offset, len, source, traffic_class })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{LinkId, OptionId};
    use crate::slot::Tunnelled;
    use etherparse::{IpFragOffset, Ipv4Options, PacketBuilder, VlanId};
    use proptest::prelude::*;
    use std::collections::HashMap;
    use std::vec::Vec;

    fn admission(slice: u16) -> Admission {
        Admission { slice: SliceId(slice), link: LinkId(slice + 1), option: OptionId(2), ..Admission::NONE }
    }

    fn ports(udp_checksum: UdpChecksum) -> UdpPorts<[PortEntry; 8]> {
        let mut ports = UdpPorts::new([PortEntry::EMPTY; 8]);
        let config = PortConfig { udp_checksum, ..PortConfig::new(admission(7)) };
        ports.open([10, 0, 0, 1].into(), 4789, config).unwrap();
        ports
    }

    /// 10.0.0.9:30000 to 10.0.0.1:4789, with four octets of payload.
    fn frame(tag: Option<u16>, edit: impl FnOnce(&mut etherparse::Ipv4Header)) -> Vec<u8> {
        let mut ip = etherparse::Ipv4Header::new(12, 64, 17.into(), [10, 0, 0, 9], [10, 0, 0, 1]).unwrap();
        ip.dscp = 10.try_into().unwrap();
        edit(&mut ip);
        let ethernet = PacketBuilder::ethernet2([2; 6], [3; 6]);
        let ip = etherparse::IpHeaders::Ipv4(ip, Default::default());
        let mut octets = Vec::new();
        match tag {
            None => ethernet.ip(ip).udp(30_000, 4789).write(&mut octets, &[1, 2, 3, 4]).unwrap(),
            Some(tag) => {
                let tagged = ethernet.single_vlan(VlanId::try_new(tag).unwrap());
                tagged.ip(ip).udp(30_000, 4789).write(&mut octets, &[1, 2, 3, 4]).unwrap();
            }
        }
        octets
    }

    fn inner(offset: u16) -> Inner {
        let source = Endpoint::v4(0x0a00_0009, 30_000);
        Inner { admission: admission(7), offset, len: 4, source, traffic_class: 40 }
    }

    #[test]
    fn frames_tagged_frames_and_packets_are_admitted() {
        for verify in [UdpChecksum::Skip, UdpChecksum::Verify] {
            let ports = ports(verify);
            let plain = frame(None, |_| ());
            assert_eq!(ports.decap(&plain, &RxMeta::NEW), Ok(inner(42)));
            assert_eq!(ports.decap(&frame(Some(5), |_| ()), &RxMeta::NEW), Ok(inner(46)));
            assert_eq!(ports.decap(&plain[14..], &RxMeta::IP), Ok(inner(28)));
            for (tags, at) in [(&[0x88, 0xa8, 0, 9][..], 46), (&[0x88, 0xa8, 0, 9, 0x81, 0, 0, 5], 50)] {
                let tagged = [&plain[..12], tags, &plain[12..]].concat();
                assert_eq!(ports.decap(&tagged, &RxMeta::NEW), Ok(inner(at)), "{tags:02x?}");
            }
            let mut padded = plain.clone();
            padded.resize(64, 0xff);
            assert_eq!(ports.decap(&padded, &RxMeta::NEW), Ok(inner(42)), "padding is not the packet's");
            let optioned = frame(None, |ip| ip.options = Ipv4Options::from([1, 1, 1, 0]));
            assert_eq!(ports.decap(&optioned, &RxMeta::NEW), Ok(inner(46)), "outer options are passed over");
        }
    }

    #[test]
    fn a_socket_says_what_it_took_off() {
        let tunnel = Tunnelled {
            source: Endpoint::v4(0x0a00_0009, 30_000),
            destination: Endpoint::v4(0x0a00_0001, 4789),
            traffic_class: 40,
        };
        let meta = RxMeta { layer: Layer::Stripped, tunnel, ..RxMeta::NEW };
        let ports = ports(UdpChecksum::Verify);
        assert_eq!(ports.decap(&[1, 2, 3, 4], &meta), Ok(inner(0)));
        assert_eq!(ports.decap(&[0; 65_536], &meta), Err(Malformed));
        let elsewhere = Tunnelled { destination: Endpoint::v4(0x0a00_0001, 1), ..tunnel };
        let meta = RxMeta { tunnel: elsewhere, ..meta };
        assert_eq!(ports.decap(&[1, 2, 3, 4], &meta), Err(UnknownSlice));
        assert_eq!(ports.decap(&[1], &RxMeta { layer: Layer::Injected, ..meta }), Err(UnknownSlice));
    }

    #[test]
    fn each_refusal_has_its_reason() {
        use DropReason::Checksum;
        let skip = ports(UdpChecksum::Skip);
        let verify = ports(UdpChecksum::Verify);
        let good = frame(None, |_| ());
        let refused = |frame: &[u8]| skip.decap(frame, &RxMeta::NEW).err();
        let with = |at: usize, octet: u8| {
            let mut frame = good.clone();
            frame[at] = octet;
            frame[24..26].fill(0);
            let sum = checksum::of(&frame[14..34]).to_be_bytes();
            frame[24..26].copy_from_slice(&sum);
            frame
        };
        for len in 0..good.len() {
            assert_eq!(refused(&good[..len]), Some(Truncated), "{len} octets");
        }
        assert_eq!(refused(&with(13, 0x06)), Some(OuterProtocol), "ARP");
        assert_eq!(refused(&with(14, 0x65)), Some(OuterProtocol), "version 6");
        assert_eq!(refused(&with(14, 0x35)), Some(Malformed), "version 3");
        assert_eq!(refused(&with(14, 0x44)), Some(Malformed), "a header of 16 octets");
        assert_eq!(refused(&with(17, 19)), Some(Malformed), "a packet shorter than its header");
        assert_eq!(refused(&with(17, 33)), Some(Truncated), "a packet longer than the frame");
        assert_eq!(refused(&with(23, 6)), Some(OuterProtocol), "TCP");
        assert_eq!(refused(&with(39, 7)), Some(Malformed), "UDP shorter than its header");
        assert_eq!(refused(&with(39, 13)), Some(Truncated), "UDP longer than the packet");
        let shorter = skip.decap(&with(39, 11), &RxMeta::NEW);
        assert_eq!(shorter, Ok(Inner { len: 3, ..inner(42) }), "UDP shorter than the packet is no fault");
        assert_eq!(refused(&with(33, 2)), Some(UnknownSlice), "another address");
        assert_eq!(refused(&with(37, 2)), Some(UnknownSlice), "another port");
        let fragment = |more, at: u16| {
            frame(None, |ip| {
                ip.dont_fragment = false;
                ip.more_fragments = more;
                ip.fragment_offset = IpFragOffset::try_new(at).unwrap();
            })
        };
        assert_eq!(refused(&fragment(true, 0)), Some(OuterFragment));
        assert_eq!(refused(&fragment(false, 3)), Some(OuterFragment));
        let mut damaged = good.clone();
        damaged[15] ^= 1;
        assert_eq!(refused(&damaged), Some(Checksum));
        let mut damaged = good.clone();
        damaged[44] ^= 1;
        assert_eq!(skip.decap(&damaged, &RxMeta::NEW), Ok(inner(42)));
        assert_eq!(verify.decap(&damaged, &RxMeta::NEW), Err(Checksum));
        damaged[40..42].fill(0);
        assert_eq!(verify.decap(&damaged, &RxMeta::NEW), Ok(inner(42)), "no checksum, none wrong");
    }

    #[test]
    fn ports_are_refused_with_a_reason() {
        let mut ports = ports(UdpChecksum::Skip);
        let (address, config) = ([10, 0, 0, 1].into(), PortConfig::new(admission(1)));
        let taken = OpenError::Taken { address, port: 4789, slice: SliceId(7) };
        assert_eq!(ports.open(address, 4789, config), Err(taken));
        assert_eq!(ports.open(address, 1, PortConfig::new(Admission::NONE)), Err(OpenError::Substrate));
        for port in 0..6 {
            ports.open(address, port, config).unwrap();
        }
        assert_eq!(ports.open(address, 6, config), Err(OpenError::Full { entries: 8 }));
        let mut none = UdpPorts::new([]);
        assert_eq!(none.open(address, 6, config), Err(OpenError::Full { entries: 0 }));
        assert_eq!(none.decap(&frame(None, |_| ()), &RxMeta::NEW), Err(UnknownSlice));
    }

    proptest! {
        /// Whatever is opened and closed, the table is a map.
        #[test]
        fn the_port_table_is_a_map(history in prop::collection::vec((any::<bool>(), 0u32..3, 0u16..20), 1..200)) {
            let mut ports = UdpPorts::new([PortEntry::EMPTY; 64]);
            let mut model = HashMap::new();
            for (slice, (open, address, port)) in (1..).zip(history) {
                let at = (Ipv4Addr::from_bits(address), port);
                if open {
                    let udp_checksum = if slice % 2 == 0 { UdpChecksum::Verify } else { UdpChecksum::Skip };
                    let config = PortConfig { udp_checksum, ..PortConfig::new(admission(slice)) };
                    prop_assert_eq!(ports.open(at.0, at.1, config).is_ok(), !model.contains_key(&at));
                    model.entry(at).or_insert(config);
                } else {
                    prop_assert_eq!(ports.close(at.0, at.1), model.remove(&at));
                }
                for address in 0..3 {
                    for port in 0..20 {
                        let at = (Ipv4Addr::from_bits(address), port);
                        let found = ports.find_any(key(address, port)).map(|entry| entry.config);
                        prop_assert_eq!(found, model.get(&at).copied());
                    }
                }
                prop_assert_eq!(ports.iter().count(), model.len());
            }
        }

        #[test]
        fn any_octets_are_admitted_or_refused(octets: Vec<u8>, at in 0usize..60, octet: u8) {
            let ports = ports(UdpChecksum::Verify);
            let mut near = frame(None, |_| ());
            if let Some(at) = near.get_mut(at) {
                *at = octet;
            }
            for frame in [&octets, &near] {
                for meta in [RxMeta::NEW, RxMeta::IP] {
                    if let Ok(inner) = ports.decap(frame, &meta) {
                        prop_assert!(usize::from(inner.offset) + usize::from(inner.len) <= frame.len());
                    }
                }
            }
        }
    }

    /// A full house of 65,536 links costs a look-up no more than a few entries.
    #[test]
    fn links_by_the_ten_thousand_cost_no_more() {
        let entries = std::vec![PortEntry::EMPTY; 1 << 17].into_boxed_slice();
        let mut ports = UdpPorts::new(entries);
        for link in 0..=u16::MAX {
            let mut config = PortConfig::new(admission(1));
            config.admission.link = LinkId(link);
            // 16 addresses with 4,096 ports each.
            let address = Ipv4Addr::from_bits(0x0a00_0000 | u32::from(link >> 12));
            ports.open(address, 20_000 + (link & 0xfff), config).unwrap();
        }
        assert!(ports.longest_probe() <= 16, "{}", ports.longest_probe());
    }
}
