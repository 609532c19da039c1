//! ICMP (RFC 792): what forwarding must know of it.

use crate::wire::transport;

/// Destination unreachable.
pub const UNREACHABLE: u8 = 3;
/// Redirect.
pub const REDIRECT: u8 = 5;
/// Echo request.
pub const ECHO_REQUEST: u8 = 8;
/// Echo reply.
pub const ECHO_REPLY: u8 = 0;
/// Time exceeded.
pub const TIME_EXCEEDED: u8 = 11;
/// Parameter problem.
pub const PARAMETER_PROBLEM: u8 = 12;

/// Type and code in the place where other protocols have their ports, as the source
/// port and the destination port of a lookup key: one octet each.
///
/// The octets behind them are a checksum, which no filter wants to match.
#[inline(always)]
pub fn type_and_code(payload: &[u8]) -> Option<u32> {
    let ports = transport::ports(payload)?;
    Some((ports >> 24) << 16 | ports >> 16 & 0xff)
}

/// Whether a message of this type reports an error, so that no error message may be
/// sent about it (RFC 1122, 3.2.2; RFC 1812, 4.3.2.7).
pub const fn is_error(icmp_type: u8) -> bool {
    matches!(icmp_type, UNREACHABLE | 4 | REDIRECT | TIME_EXCEEDED | PARAMETER_PROBLEM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn type_and_code_stand_where_ports_do() {
        assert_eq!(type_and_code(&[3, 4, 0xaa, 0xbb]), Some(3 << 16 | 4));
        assert_eq!(type_and_code(&[3, 4, 0xaa]), None);
        assert!(is_error(TIME_EXCEEDED) && !is_error(ECHO_REQUEST));
    }
}
