//! All links of a node: plain UDP by port, and tunnels of every kind.

use core::net::IpAddr;

use crate::decap::{
    Decap, Inner, OpenError, PortConfig, PortEntry, TunnelConfig, TunnelEntry, TunnelError, TunnelKind,
    Tunnels, UdpPorts,
};
use crate::exit::DropReason::{self, UnknownSlice};
use crate::slot::{Layer, RxMeta};
use crate::store::Store;

/// [`UdpPorts`], and [`Tunnels`] for what is none of theirs.
///
/// A plain packet to a UDP port costs what it costs with the ports alone. An address and
/// port is to be open in one of the two, which [`open`](Self::open) sees to.
#[derive(Clone, Debug)]
pub struct Access<P, T> {
    /// Links by UDP port over IPv4.
    pub ports: UdpPorts<P>,
    /// Links by tunnel.
    pub tunnels: Tunnels<T>,
}

/// Why a link was not opened. Nothing has changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AccessError {
    /// A plain UDP port was refused.
    #[error(transparent)]
    Port(#[from] OpenError),
    /// A tunnel was refused.
    #[error(transparent)]
    Tunnel(#[from] TunnelError),
}

impl<P: Store<Item = PortEntry>, T: Store<Item = TunnelEntry>> Access<P, T> {
    /// Opens a link where it belongs: plain UDP over IPv4 among the ports, all else among
    /// the tunnels. Reads both tables, to see that a port is of one kind.
    ///
    /// # Errors
    ///
    /// [`AccessError`]; nothing has changed.
    pub fn open(
        &mut self, address: IpAddr, kind: TunnelKind, config: TunnelConfig,
    ) -> Result<(), AccessError> {
        let IpAddr::V4(v4) = address else { return Ok(self.tunnels.open(address, kind, config)?) };
        let mixed = |kind: TunnelKind| TunnelError::Mixed { address, port: kind.port(), kind };
        if let TunnelKind::Udp { port } = kind {
            if let Some(open) = self.tunnels.at_port(address, port) {
                return Err(mixed(open).into());
            }
            let TunnelConfig { admission, udp_checksum, .. } = config;
            return Ok(self.ports.open(v4, port, PortConfig { admission, udp_checksum })?);
        }
        let port = kind.port();
        if port != 0 && self.ports.is_open(v4, port) {
            return Err(mixed(TunnelKind::Udp { port }).into());
        }
        Ok(self.tunnels.open(address, kind, config)?)
    }

    /// Closes a link. Whether it was open.
    pub fn close(&mut self, address: IpAddr, kind: TunnelKind) -> bool {
        match (address, kind) {
            (IpAddr::V4(v4), TunnelKind::Udp { port }) => self.ports.close(v4, port).is_some(),
            _ => self.tunnels.close(address, kind).is_some(),
        }
    }

    /// All that is no plain untagged frame.
    #[inline(never)]
    fn other(&self, frame: &[u8], meta: &RxMeta) -> Result<Inner, DropReason> {
        if let Some(inner) = self.ports.plain_other(frame, meta.layer) {
            return Ok(inner);
        }
        match self.tunnels.decap(frame, meta) {
            Err(UnknownSlice) => self.ports.any(frame, meta),
            found => found,
        }
    }
}

impl<P: Store<Item = PortEntry>, T: Store<Item = TunnelEntry>> Decap for Access<P, T> {
    #[inline(always)]
    fn decap(&self, frame: &[u8], meta: &RxMeta) -> Result<Inner, DropReason> {
        if meta.layer == Layer::Ethernet
            && let Some(inner) = self.ports.plain_ethernet(frame)
        {
            return Ok(inner);
        }
        // By field, as in `UdpPorts`.
        let Inner { admission, offset, len, source, traffic_class } = self.other(frame, meta)?;
        Ok(Inner { admission, offset, len, source, traffic_class })
    }
}
