//! All links of a node: plain UDP by port, and tunnels of every kind.

use crate::decap::{Decap, Inner, PortEntry, TunnelEntry, Tunnels, UdpPorts};
use crate::exit::DropReason::{self, UnknownSlice};
use crate::slot::{Layer, RxMeta};
use crate::store::Store;

/// [`UdpPorts`], and [`Tunnels`] for what is none of theirs.
///
/// A plain packet to a UDP port costs what it costs with the ports alone. An address and
/// port is to be open in one of the two.
#[derive(Clone, Debug)]
pub struct Access<P, T> {
    /// Links by UDP port over IPv4.
    pub ports: UdpPorts<P>,
    /// Links by tunnel.
    pub tunnels: Tunnels<T>,
}

impl<P: Store<Item = PortEntry>, T: Store<Item = TunnelEntry>> Access<P, T> {
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
