//! Outer headers that do not fit a record: up to 128 octets, copied at once.

use crate::egress::{Egress, EgressError, Tunnel};
use crate::exit::DropReason;
use crate::packet::PacketMut;
use crate::slot::Outgoing;
use crate::wire::ipv4;

use super::record::{finish, redirect};

/// A prepared outer header: link layer, IPv4, UDP, and a shim of any octets behind
/// them (a VXLAN header, a security tag). Two cache lines.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub struct Template {
    octets: [u8; Self::MAX],
    len: u8,
    /// Where the IPv4 header begins.
    ip: u8,
    class_mask: u8,
    multipoint: bool,
}

impl Template {
    /// The longest header: 124 octets, which with their description fill two lines.
    pub const MAX: usize = 124;

    /// The header of `tunnel` with `shim` behind it.
    ///
    /// # Errors
    ///
    /// [`EgressError::Header`] if both are longer than [`MAX`](Self::MAX) octets.
    pub fn new(tunnel: &Tunnel, shim: &[u8]) -> Result<Self, EgressError> {
        let mut octets = [0; Self::MAX];
        let len = tunnel.octets() + shim.len();
        let too_long = EgressError::Header { octets: len, most: Self::MAX };
        let at = tunnel.write(&mut octets).ok_or(too_long)?;
        let room = octets.get_mut(at..).and_then(|room| room.get_mut(..shim.len()));
        room.ok_or(too_long)?.copy_from_slice(shim);
        Ok(Self {
            octets,
            len: len as u8,
            ip: tunnel.link_layer.octets() as u8,
            class_mask: tunnel.class_mask(),
            multipoint: tunnel.multipoint,
        })
    }

    /// Octets of the header.
    pub fn octets(&self) -> usize {
        usize::from(self.len)
    }

    /// Puts the header in front of `packet`.
    pub(super) fn encapsulate(
        &self, packet: &mut PacketMut<'_>, outgoing: &Outgoing,
    ) -> Result<(), DropReason> {
        let inner = packet.octets();
        let template = self.octets.get(..usize::from(self.len)).ok_or(DropReason::Malformed)?;
        let header = packet.push_slice(template)?;
        let outer = header.get_mut(usize::from(self.ip)..).ok_or(DropReason::Malformed)?;
        let behind = outer.len() - outer.len().min(Tunnel::HEADER);
        let outer = outer.first_chunk_mut::<{ Tunnel::HEADER }>().ok_or(DropReason::Malformed)?;
        if inner + behind > usize::from(Egress::MAX_MTU) {
            return Err(DropReason::TooLong);
        }
        let sum = crate::wire::be16::<{ ipv4::HEADER - 10 }, { Tunnel::HEADER }>(outer);
        let [_, own_class, ..] = *outer;
        finish(outer, sum, inner + behind, own_class, outgoing.traffic_class & self.class_mask);
        match outgoing.destination {
            Some(to) if self.multipoint => redirect(outer, to),
            Some(_) => Err(DropReason::Destination),
            None => Ok(()),
        }
    }
}
