//! Traffic class at the ends of a tunnel: ECN by RFC 6040, DSCP by RFC 2983.

use crate::exit::DropReason;
use crate::slot::DscpModel;

/// The two ECN bits of a traffic class octet (RFC 3168).
pub const MASK: u8 = 0b11;

/// Not ECN-capable transport.
pub const NOT_ECT: u8 = 0b00;
/// ECN-capable transport, codepoint 1.
pub const ECT1: u8 = 0b01;
/// ECN-capable transport, codepoint 0.
pub const ECT0: u8 = 0b10;
/// Congestion experienced.
pub const CE: u8 = 0b11;

/// The traffic class that a packet leaves the tunnel with: ECN of RFC 6040, section
/// 4.2, figure 4; DSCP as `model` says.
///
/// # Errors
///
/// [`DropReason::EcnNotCapable`] for an outer CE on an inner packet that is not
/// ECN-capable.
#[inline(always)]
pub fn decapsulate(outer: u8, inner: u8, model: DscpModel) -> Result<u8, DropReason> {
    // An outer Not-ECT or ECT(0) changes no inner codepoint.
    if outer & 1 == 0 && matches!(model, DscpModel::Pipe) {
        return Ok(inner);
    }
    merge(outer, inner, model)
}

#[cold]
fn merge(outer: u8, inner: u8, model: DscpModel) -> Result<u8, DropReason> {
    let ecn = match (inner & MASK, outer & MASK) {
        (NOT_ECT, CE) => return Err(DropReason::EcnNotCapable),
        (ECT0, ECT1) => ECT1,
        (ECT0 | ECT1, CE) => CE,
        (inner, _) => inner,
    };
    let dscp = match model {
        DscpModel::Pipe => inner,
        DscpModel::Uniform => outer,
    };
    Ok(dscp & !MASK | ecn)
}

#[cfg(test)]
mod tests {
    use super::*;
    use DscpModel::{Pipe, Uniform};

    #[test]
    fn figure_4_of_rfc_6040() {
        // Rows: inner. Columns: outer Not-ECT, ECT(0), ECT(1), CE.
        let drop = Err(DropReason::EcnNotCapable);
        let table = [
            (NOT_ECT, [Ok(NOT_ECT), Ok(NOT_ECT), Ok(NOT_ECT), drop]),
            (ECT0, [Ok(ECT0), Ok(ECT0), Ok(ECT1), Ok(CE)]),
            (ECT1, [Ok(ECT1), Ok(ECT1), Ok(ECT1), Ok(CE)]),
            (CE, [Ok(CE), Ok(CE), Ok(CE), Ok(CE)]),
        ];
        for (inner, row) in table {
            for (outer, expected) in [NOT_ECT, ECT0, ECT1, CE].into_iter().zip(row) {
                assert_eq!(decapsulate(outer, inner, Pipe), expected, "{inner:02b} {outer:02b}");
                let dscps = decapsulate(0xb8 | outer, 0x28 | inner, Pipe);
                assert_eq!(dscps, expected.map(|ecn| 0x28 | ecn), "a pipe keeps the inner DSCP");
                let dscps = decapsulate(0xb8 | outer, 0x28 | inner, Uniform);
                assert_eq!(dscps, expected.map(|ecn| 0xb8 | ecn), "a uniform tunnel brings the outer one");
            }
        }
    }
}
