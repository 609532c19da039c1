//! Replies to echo and timestamp requests (RFC 1122, 3.2.2.6 and 3.2.2.8).

use crate::manager::header::Head;
use crate::manager::options;
use crate::wire::{checksum, icmp, ipv4};

/// Timestamp request and reply.
pub(super) const TIMESTAMP: u8 = 13;
const TIMESTAMP_REPLY: u8 = 14;

/// The reply to a packet with this header: back to where it came from, with its type of service,
/// record route and timestamp, as a whole packet with identification `id`.
pub(super) fn header(request: &Head, source: u32, destination: u32, ttl: u8, id: u16) -> Head {
    let ([s0, s1, s2, s3], [d0, d1, d2, d3]) = (source.to_be_bytes(), destination.to_be_bytes());
    let [i0, i1] = id.to_be_bytes();
    // Not ECN-capable: it is no transport's.
    let class = request.traffic_class() & 0xfc;
    let fixed = [0x45, class, 0, 0, i0, i1, 0, 0, ttl, ipv4::ICMP, 0, 0, s0, s1, s2, s3, d0, d1, d2, d3];
    let mut head = Head::of(&fixed);
    options::each(request, |kind, option| {
        if options::is_returned(kind) {
            head.push(option);
        }
    });
    head.pad();
    head
}

/// The first four octets of the reply to an echo request: all others are the same.
pub(super) fn echo(request: [u8; 4]) -> [u8; 4] {
    let [kind, code, high, low] = request;
    let sum = u16::from_be_bytes([high, low]);
    let [high, low] = checksum::update16(
        sum,
        u16::from_be_bytes([kind, code]),
        u16::from_be_bytes([icmp::ECHO_REPLY, code]),
    )
    .to_be_bytes();
    [icmp::ECHO_REPLY, code, high, low]
}

/// The reply to a timestamp request; `time` is when it came, and when the reply leaves.
pub(super) fn timestamp(request: &[u8; 20], time: u32) -> [u8; 20] {
    let &[_, code, _, _, i0, i1, n0, n1, o0, o1, o2, o3, ..] = request;
    let [t0, t1, t2, t3] = time.to_be_bytes();
    let mut reply =
        [TIMESTAMP_REPLY, code, 0, 0, i0, i1, n0, n1, o0, o1, o2, o3, t0, t1, t2, t3, t0, t1, t2, t3];
    let sum = checksum::of(&reply);
    let [_, _, high, low, ..] = &mut reply;
    [*high, *low] = sum.to_be_bytes();
    reply
}
