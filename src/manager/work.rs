//! The manager at work: what becomes of each exception.

use crate::code_option::ipv4::Ipv4Key;
use crate::exit::Exception;
use crate::id::LinkId;
use crate::manager::config::{Config, Delivery, ErrorSource, Meaning, SourceRoutes};
use crate::manager::error::{Interface, Message, Problem, Unreachable, is_query};
use crate::manager::fragment::{DONT, MORE, OFFSET, Uncut, cut};
use crate::manager::header::{Head, Payload};
use crate::manager::limit::Limits;
use crate::manager::options::{self, Found, Stamp};
use crate::manager::{Fate, Output, Route, Tally, To, Way, Ways, echo, error};
use crate::pipeline::Exceptional;
use crate::slot::DscpModel;
use crate::time::Nanos;
use crate::wire::ipv4::{self, Ipv4};
use crate::wire::{checksum, ecn, icmp, transport};

/// A packet that the fast path has handed over.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// Why.
    pub exception: Exception,
    /// The slice's link that brought it.
    pub link: u16,
    /// Whether the slice's manager had sent it.
    pub injected: bool,
    /// Whether the link's own header sent it to all or to a group: then no error is sent about
    /// it (RFC 1122, 3.2.2).
    pub group: bool,
    /// DSCP and ECN of the outer header.
    pub outer_class: u8,
    /// What the link does to the DSCP.
    pub dscp: DscpModel,
    /// The slice's packet, as it came.
    pub octets: &'a [u8],
}

impl<'a> Received<'a> {
    /// A packet that `link` brought, in an outer header that has nothing to say.
    pub const fn new(exception: Exception, link: u16, octets: &'a [u8]) -> Self {
        let (outer_class, dscp) = (0, DscpModel::Pipe);
        Self { exception, link, injected: false, group: false, outer_class, dscp, octets }
    }

    /// What the fast path says of the slice's packet `octets`.
    pub const fn of(what: &Exceptional, octets: &'a [u8]) -> Self {
        Self {
            exception: what.exception,
            link: what.admission.link.0,
            injected: what.injected,
            group: false,
            outer_class: what.outer_class,
            dscp: what.admission.dscp,
            octets,
        }
    }
}

/// Takes the packets that a manager sends.
type Send<'a> = dyn FnMut(Output<'_>) + 'a;

/// The slow path of one IPv4 slice.
///
/// Each call costs time in proportion to the packet's length and to what `ways` takes. Nothing
/// is allocated after [`new`](Self::new), and no input makes anything grow.
#[derive(Clone, Debug)]
pub struct Manager {
    config: Config,
    limits: Limits,
    tally: Tally,
    /// The next identification of what may be cut.
    id: u16,
}

/// A packet that is being seen to.
struct Job<'a, 'o> {
    now: Nanos,
    link: u16,
    injected: bool,
    group: bool,
    /// Whether it came from the host, which is then told what is wrong with it.
    host: bool,
    ip: Ipv4<'a>,
    /// The header as it would be sent on.
    header: Head,
    ways: &'o dyn Ways,
    out: &'o mut Send<'o>,
}

impl Job<'_, '_> {
    fn payload(&self) -> Payload<'_> {
        Payload::one(self.ip.payload())
    }

    /// A packet whose parts have not come yet, or came earlier.
    fn is_fragment(&self) -> bool {
        self.header.fragment() & (MORE | OFFSET) != 0
    }

    fn give(&mut self, to: To) -> Fate {
        (self.out)(Output::new(to, &self.header, Payload::one(self.ip.payload())));
        Fate::Delivered
    }
}

impl Manager {
    /// A manager that has done nothing yet. Allocates 32 KB.
    pub fn new(config: Config) -> Self {
        let limits = Limits::new(&config.rates, config.seed);
        Self { limits, tally: Tally::NEW, id: (config.seed >> 48) as u16, config }
    }

    /// What it was told.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// What it did.
    pub const fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Sees to a packet that the fast path has handed over, and gives what is to be sent to
    /// `out`, in order: none, one, or a packet in fragments, and a redirect. Returns what became
    /// of the packet, and counts that.
    pub fn exception(
        &mut self, now: Nanos, received: &Received<'_>, ways: &dyn Ways, out: &mut dyn FnMut(Output<'_>),
    ) -> Fate {
        let fate = self.receive(now, received, ways, out);
        self.tally.add(fate);
        fate
    }

    /// Sends a packet of the host's, as if it had come out of link `link`'s end for the host.
    /// What is too long for its way and may not be cut is answered, to the host.
    pub fn from_host(
        &mut self, now: Nanos, link: u16, octets: &[u8], ways: &dyn Ways, out: &mut dyn FnMut(Output<'_>),
    ) -> Fate {
        let fate = match Ipv4::read(octets) {
            Err(_) => Fate::Unsound,
            Ok(ip) => {
                let header = head_of(&ip);
                let mut out = |output: Output<'_>| out(output);
                let (injected, group) = (false, false);
                self.send_for_host(Job {
                    now,
                    link,
                    injected,
                    group,
                    host: true,
                    ip,
                    header,
                    ways,
                    out: &mut out,
                })
            }
        };
        self.tally.from_host += 1;
        self.tally.add(fate);
        fate
    }

    fn receive(
        &mut self, now: Nanos, received: &Received<'_>, ways: &dyn Ways, out: &mut dyn FnMut(Output<'_>),
    ) -> Fate {
        let Received { exception, link, injected, group, outer_class, dscp, octets } = *received;
        let Ok(ip) = Ipv4::read(octets) else { return Fate::Unsound };
        let mut header = head_of(&ip);
        match ecn::decapsulate(outer_class, ip.traffic_class(), dscp) {
            Ok(class) => header.set_traffic_class(class),
            // The fast path drops them, but for what it hands over before it looks.
            Err(_) => return Fate::Congestion,
        }
        header.seal(ip.payload().len());
        let mut out = |output: Output<'_>| out(output);
        let mut job = Job { now, link, injected, group, host: false, ip, header, ways, out: &mut out };
        let found = match options::check(&job.header) {
            Ok(found) => found,
            Err(at) => return self.error(&mut job, Problem::Parameter(at)),
        };
        match self.config.meanings.get(exception) {
            Meaning::Forward => self.forward(&mut job, found),
            meaning => self.arrived(&mut job, found, meaning),
        }
    }

    /// A packet that goes no further, for a reason.
    fn arrived(&mut self, job: &mut Job<'_, '_>, found: Found, meaning: Meaning) -> Fate {
        let to_host = To::Host { link: job.link };
        match meaning {
            Meaning::Local => self.local(job, found),
            Meaning::Expired => self.error(job, Problem::Expired),
            Meaning::Unreachable(why) => self.error(job, Problem::Unreachable(why)),
            Meaning::OptionMissing(kind) => self.error(job, Problem::OptionMissing(kind)),
            Meaning::Multicast if self.config.groups == Delivery::Host => job.give(to_host),
            Meaning::Multicast => Fate::Multicast,
            Meaning::Host => job.give(to_host),
            Meaning::Forward | Meaning::Drop => Fate::Meaningless,
        }
    }

    /// For this node (RFC 1122, 3.2.2 and 3.3; RFC 1812, 5.2.3).
    fn local(&mut self, job: &mut Job<'_, '_>, found: Found) -> Fate {
        let to_host = To::Host { link: job.link };
        let keep = self.config.delivery == Delivery::Host;
        if !self.config.is_host(job.ip.destination()) {
            return if keep { job.give(to_host) } else { Fate::Broadcast };
        }
        let payload = job.ip.payload();
        let whole = !job.is_fragment();
        match (job.ip.protocol(), payload) {
            (ipv4::ICMP, [icmp::ECHO_REQUEST, ..]) if whole && self.config.echo => self.echo(job, found),
            (ipv4::ICMP, [echo::TIMESTAMP, ..]) if whole && self.config.timestamps => {
                self.timestamp(job, found)
            }
            _ if keep => job.give(to_host),
            _ if !whole => Fate::Reassembly,
            (ipv4::ICMP, _) => Fate::Unwanted,
            (ipv4::UDP, _) if !udp_is_sound(&job.ip) => Fate::Checksum,
            (ipv4::UDP | UDP_LITE, _) => self.error(job, Problem::Unreachable(Unreachable::Port)),
            _ => self.error(job, Problem::Unreachable(Unreachable::Protocol)),
        }
    }

    fn echo(&mut self, job: &mut Job<'_, '_>, found: Found) -> Fate {
        let payload = job.ip.payload();
        let Some((first, rest)) = payload.split_first_chunk::<4>() else { return Fate::Unsound };
        if rest.len() < 4 {
            return Fate::Unsound;
        }
        if checksum::sum(payload) != 0xffff {
            return Fate::Checksum;
        }
        let first = echo::echo(*first);
        self.reply(job, found, Payload([&first, rest, &[]]), Fate::EchoReply)
    }

    fn timestamp(&mut self, job: &mut Job<'_, '_>, found: Found) -> Fate {
        let payload = job.ip.payload();
        let Some(request) = payload.first_chunk::<20>() else { return Fate::Unsound };
        if checksum::sum(payload) != 0xffff {
            return Fate::Checksum;
        }
        let reply = echo::timestamp(request, self.config.time_of_day(job.now));
        self.reply(job, found, Payload::one(&reply), Fate::TimestampReply)
    }

    fn reply(&mut self, job: &mut Job<'_, '_>, found: Found, payload: Payload<'_>, sent: Fate) -> Fate {
        let (from, to) = (job.ip.destination(), job.ip.source());
        if !self.config.is_host(to) || self.config.is_own(to) {
            return Fate::AboutSource;
        }
        // The way back would have to be followed by others; that is the host's business.
        if found.source_route.is_some() {
            return Fate::SourceRoute;
        }
        if let Err(refused) = self.limits.reply(job.now) {
            return refused;
        }
        let mut header = echo::header(&job.header, from, to, self.config.ttl, self.id);
        self.id = self.id.wrapping_add(1);
        let found = options::check(&header).unwrap_or_default();
        self.stamp(job.now, &mut header, &found, from);
        header.seal(payload.len());
        self.send_own(job, header, payload, sent)
    }

    fn stamp(&self, now: Nanos, header: &mut Head, found: &Found, address: u32) {
        let time = self.config.time_of_day(now);
        Stamp { address, time, is_own: |address| self.config.is_own(address) }.write(header, found);
    }

    /// To be sent on (RFC 1812, 5.2.1), or for this node after all: an exception of the parser's
    /// comes before the look-up.
    fn forward(&mut self, job: &mut Job<'_, '_>, found: Found) -> Fate {
        if found.router_alert && self.config.router_alerts == Delivery::Host {
            return job.give(To::Host { link: job.link });
        }
        let mut destination = job.ip.destination();
        let mut hop = None;
        if let Some(route) = found.source_route {
            match self.config.source_routes {
                SourceRoutes::Drop => return Fate::SourceRoute,
                SourceRoutes::Refuse => return self.error(job, Problem::SourceRouteFailed),
                SourceRoutes::Follow if self.config.is_own(destination) => match route.next(&job.header) {
                    Ok(Some(next)) if self.config.is_host(next) => {
                        (destination, hop) = (next, Some(route));
                    }
                    Ok(Some(_)) => return Fate::SourceRoute,
                    Ok(None) => {}
                    Err(at) => return self.error(job, Problem::Parameter(at)),
                },
                // The sender was to name the routers between; RFC 791 has it lead here.
                SourceRoutes::Follow if route.strict => {
                    return self.error(job, Problem::Parameter(ipv4::DESTINATION as u8));
                }
                SourceRoutes::Follow => {}
            }
        }
        if hop.is_none() && (self.config.is_own(destination) || self.config.is_broadcast(destination)) {
            return self.local(job, found);
        }
        job.header.set_destination(destination);
        let way = match job.ways.route(&self.key(&job.header, job.payload(), job.link), job.link) {
            Route::Via(way) => way,
            Route::Drop => return Fate::NoWay,
            Route::Exception(exception) => {
                return self.arrived(job, found, self.config.meanings.get(exception));
            }
        };
        if job.header.ttl() <= 1 && !job.injected {
            return self.error(job, Problem::Expired);
        }
        if hop.is_some_and(|route| route.strict) && way.gateway.is_some() {
            return self.error(job, Problem::SourceRouteFailed);
        }
        let octets = job.header.len() + job.ip.payload().len();
        if octets > usize::from(way.mtu) && job.header.fragment() & DONT != 0 {
            return self.error(job, Problem::TooBig(way.mtu));
        }
        if job.injected && octets <= usize::from(way.mtu) {
            return Fate::Returned;
        }
        if let Some(own) = self.config.address(way.link) {
            let (now, mut header) = (job.now, job.header);
            if let Some(route) = hop {
                route.advance(&mut header, own);
            }
            self.stamp(now, &mut header, &found, own);
            job.header = header;
        }
        if !job.injected {
            job.header.set_ttl(job.header.ttl().saturating_sub(1));
        }
        self.redirect(job, &way, &found, destination);
        let payload = job.ip.payload();
        job.header.seal(payload.len());
        let (header, link) = (job.header, job.link);
        match self.put(&header, Payload::one(payload), &way, link, job.out) {
            Ok(1) => Fate::Forwarded,
            Ok(_) => Fate::Fragmented,
            Err(Uncut) => Fate::Uncut,
        }
    }

    /// Tells the sender of a better way (RFC 1812, 5.2.7.2), beside sending its packet on.
    fn redirect(&mut self, job: &mut Job<'_, '_>, way: &Way, found: &Found, destination: u32) {
        let link = self.config.links.get(usize::from(job.link));
        let better = way.gateway.unwrap_or(destination);
        let apt = self.config.redirects
            && way.link == job.link
            && found.source_route.is_none()
            && !job.injected
            && link.is_some_and(|link| link.holds(job.ip.source()) && link.holds(better));
        if apt && self.error(job, Problem::Redirect(better)) == Fate::Forwarded {
            self.tally.redirects += 1;
        }
    }

    /// A packet of the host's own.
    fn send_for_host(&mut self, mut job: Job<'_, '_>) -> Fate {
        let destination = job.ip.destination();
        let link = self.config.links.get(usize::from(job.link));
        let on_link = !self.config.is_host(destination) || destination >> 16 == LINK_LOCAL;
        let payload = Payload::one(job.ip.payload());
        if on_link {
            // No route says which link: the host has chosen it.
            let Some(result) = link.and_then(|link| link.result) else { return Fate::NoWay };
            let to = To::Result { result, traffic_class: job.header.traffic_class() };
            (job.out)(Output::new(to, &job.header, payload));
            return Fate::Forwarded;
        }
        let way = match job.ways.route(&self.key(&job.header, payload, job.link), job.link) {
            Route::Via(way) => way,
            Route::Drop => return Fate::NoWay,
            Route::Exception(exception) => match self.config.meanings.get(exception) {
                Meaning::Unreachable(why) => return self.error(&mut job, Problem::Unreachable(why)),
                _ => return Fate::NoWay,
            },
        };
        let octets = job.header.len() + payload.len();
        if octets > usize::from(way.mtu) && job.header.fragment() & DONT != 0 {
            return self.error(&mut job, Problem::TooBig(way.mtu));
        }
        match self.put(&job.header, payload, &way, job.link, job.out) {
            Ok(1) => Fate::Forwarded,
            Ok(_) => Fate::Fragmented,
            Err(Uncut) => Fate::Uncut,
        }
    }

    /// Sends `problem` about a packet to its source, if that may be.
    fn error(&mut self, job: &mut Job<'_, '_>, problem: Problem) -> Fate {
        if let Err(why_not) = self.may_answer(job) {
            return why_not;
        }
        let destination = job.ip.source();
        let spared = matches!(problem, Problem::TooBig(_));
        // The host's own packets cost no link anything.
        if !job.host
            && let Err(refused) = self.limits.error(job.now, destination, spared)
        {
            return refused;
        }
        let Some(here) = self.config.address(job.link) else { return Fate::NoAddress };
        let interface =
            self.config.interface_info.then_some(Interface { index: u32::from(job.link) + 1, address: here });
        let key = self.error_key(here, destination, job.link, problem);
        let (way, room) = match job.ways.route(&key, job.link) {
            _ if job.host => (None, usize::MAX),
            Route::Via(way) => (Some(way), usize::from(way.mtu)),
            _ => return Fate::NoWayBack,
        };
        let source = match (self.config.error_source, way) {
            // Who was asked answers (RFC 1122, 3.2.1.3).
            _ if self.config.is_own(job.ip.destination()) => job.ip.destination(),
            (ErrorSource::Outgoing, Some(way)) => self.config.address(way.link).unwrap_or(here),
            _ => here,
        };
        let room = room.min(usize::from(self.config.longest_error.clamp(68, 576))) - ipv4::HEADER;
        let message = Message::new(problem, job.ip.packet(), room, interface);
        let payload = message.payload();
        let header = error::header(source, destination, self.config.ttl, payload.len());
        match way {
            None => (job.out)(Output::new(To::Host { link: job.link }, &header, payload)),
            // It fits: it was made to.
            Some(way) => drop(self.put(&header, payload, &way, job.link, job.out)),
        }
        problem.fate()
    }

    /// Whether errors may be sent about a packet (RFC 1122, 3.2.2; RFC 1812, 4.3.2.7).
    fn may_answer(&self, job: &Job<'_, '_>) -> Result<(), Fate> {
        let (source, destination) = (job.ip.source(), job.ip.destination());
        let kind = job.ip.payload().first();
        if job.ip.is_later_fragment() {
            return Err(Fate::AboutFragment);
        }
        if job.ip.protocol() == ipv4::ICMP && !kind.is_some_and(|kind| is_query(*kind)) {
            return Err(Fate::AboutError);
        }
        if job.group || destination >> 28 >= 14 || self.config.is_broadcast(destination) {
            return Err(Fate::AboutGroup);
        }
        let own = self.config.is_own(source) && !job.host;
        if !self.config.is_host(source) || own {
            return Err(Fate::AboutSource);
        }
        Ok(())
    }

    /// The key of an error message that is not made yet.
    fn error_key(&self, source: u32, destination: u32, link: u16, problem: Problem) -> Ipv4Key {
        let header = error::header(source, destination, self.config.ttl, 0);
        let message = Message::new(problem, &[], 8, None);
        self.key(&header, message.payload(), link)
    }

    fn key(&self, header: &Head, payload: Payload<'_>, link: u16) -> Ipv4Key {
        let [first, ..] = payload.0;
        Ipv4Key::of_packet(self.config.class_field, LinkId(link), header.fixed(), first)
    }

    /// Sends a packet of this router's own.
    fn send_own(&mut self, job: &mut Job<'_, '_>, header: Head, payload: Payload<'_>, sent: Fate) -> Fate {
        let key = self.key(&header, payload, job.link);
        let Route::Via(way) = job.ways.route(&key, job.link) else { return Fate::NoWayBack };
        match self.put(&header, payload, &way, job.link, job.out) {
            Ok(_) => sent,
            Err(Uncut) => Fate::Uncut,
        }
    }

    /// Sends a packet by a way, in fragments if it must be. Returns in how many pieces.
    fn put(
        &mut self, header: &Head, payload: Payload<'_>, way: &Way, link: u16, out: &mut Send<'_>,
    ) -> Result<u64, Uncut> {
        let to = match way.result {
            Some(result) => To::Result { result, traffic_class: header.traffic_class() },
            None => To::InBand { link },
        };
        if header.len() + payload.len() <= usize::from(way.mtu) {
            out(Output::new(to, header, payload));
            return Ok(1);
        }
        let fragments =
            cut(header, payload, way.mtu, |header, payload| out(Output::new(to, header, payload)))?;
        self.tally.fragments += fragments;
        Ok(fragments)
    }
}

/// UDP-Lite (RFC 3828).
const UDP_LITE: u8 = 136;

/// 169.254.0.0/16 (RFC 3927).
const LINK_LOCAL: u32 = 0xa9fe;

/// The header of a packet, options included.
fn head_of(ip: &Ipv4<'_>) -> Head {
    Head::of(ip.packet().get(..ip.header_len()).unwrap_or_default())
}

/// Whether the checksum of a datagram is right (RFC 1122, 4.1.3.4).
fn udp_is_sound(ip: &Ipv4<'_>) -> bool {
    let pseudo = checksum::pseudo_v4(ip.source(), ip.destination(), ipv4::UDP, 0);
    transport::verify_udp(ip.payload(), pseudo).is_ok()
}
