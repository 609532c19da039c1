//! The way out: what a lookup leads to, and the outer header.
//!
//! ```
//! use core::net::SocketAddrV4;
//! use fastpath::egress::{Egress, LinkLayer, Tunnel};
//! use fastpath::id::QueueId;
//! use fastpath::packet::Packet;
//! use fastpath::slot::Outgoing;
//!
//! let tunnel = Tunnel::new(
//!     LinkLayer::Ip,
//!     SocketAddrV4::new([10, 0, 0, 1].into(), 20_001),
//!     SocketAddrV4::new([10, 0, 0, 9].into(), 30_000),
//! );
//! let egress = Egress::forward(&tunnel, QueueId(3), 1472)?;
//! let mut packet = Packet::with_headroom([0u8; 256], 64, b"inner").unwrap();
//! packet.edit(packet.whole(), |packet| egress.encapsulate(packet, &Outgoing::default(), &())).unwrap();
//! assert_eq!(packet.octets(), 28 + 5);
//! assert_eq!(packet.bytes()[..4], [0x45, 0, 0, 33]);
//! # Ok::<(), fastpath::egress::EgressError>(())
//! ```
//!
//! Through any other tunnel the record names a [`Template`]: VXLAN network 7, over IPv6.
//!
//! ```
//! use core::net::SocketAddr;
//! use fastpath::egress::{Egress, Egresses, Encapsulation, InnerEthernet, LinkLayer, Template, Tunnel};
//! use fastpath::id::QueueId;
//!
//! let next_hop = InnerEthernet::ipv4([2, 0, 0, 0, 0, 9], [2, 0, 0, 0, 0, 1]);
//! let (ours, peer): (SocketAddr, SocketAddr) =
//!     ("[2001:db8::1]:4789".parse().unwrap(), "[2001:db8::9]:4789".parse().unwrap());
//! let tunnel = Tunnel::new(LinkLayer::Ip, ours, peer)
//!     .with(Encapsulation::Vxlan { vni: 7, frame: Some(next_hop) });
//! assert!(tunnel.needs_template());
//! let template = Template::new(&tunnel, &[])?;
//! let record = Egress::by_template(0, &template, QueueId(3), 1430)?;
//! let table = Egresses { records: [record], templates: [template] };
//! # let _ = table;
//! # Ok::<(), fastpath::egress::EgressError>(())
//! ```

mod encapsulation;
mod record;
mod template;
mod tunnel;

pub use encapsulation::{Encapsulation, InnerEthernet, Payload};
pub use record::{Egress, EgressError};
#[cfg(feature = "alloc")]
pub(crate) use record::{is_destination, is_destination_at};
pub use template::Template;
pub use tunnel::{LinkLayer, Tunnel};

use crate::id::EgressId;

/// The ways out that a table's results name.
///
/// An array, a slice or a boxed slice of [`Egress`] is one; [`Egresses`] adds the
/// [`Template`]s that tunnels need which are more than UDP over IPv4.
pub trait EgressTable: TemplateTable {
    /// The record that `id` names.
    fn egress(&self, id: EgressId) -> Option<&Egress>;

    /// How many there are.
    fn count(&self) -> usize;
}

/// The outer headers that records name and do not hold.
pub trait TemplateTable {
    /// Template `number`.
    fn template(&self, number: u32) -> Option<&Template>;
}

/// No templates.
impl TemplateTable for () {
    fn template(&self, _: u32) -> Option<&Template> {
        None
    }
}

macro_rules! records_only {
    ([$($generics:tt)*] $records:ty) => {
        impl<$($generics)*> EgressTable for $records {
            #[inline(always)]
            fn egress(&self, id: EgressId) -> Option<&Egress> {
                self.get(id.index())
            }
            #[inline(always)]
            fn count(&self) -> usize {
                self.len()
            }
        }

        impl<$($generics)*> TemplateTable for $records {
            fn template(&self, _: u32) -> Option<&Template> {
                None
            }
        }
    };
}

records_only!([const N: usize] [Egress; N]);
records_only!([] & [Egress]);
#[cfg(feature = "alloc")]
records_only!([] alloc::boxed::Box<[Egress]>);
#[cfg(feature = "alloc")]
records_only!([] alloc::vec::Vec<Egress>);

/// Records, and the templates that some of them name: one for each link, say.
#[derive(Clone, Debug, Default)]
pub struct Egresses<R, T> {
    /// The records.
    pub records: R,
    /// The templates.
    pub templates: T,
}

impl<R: EgressTable, T: AsRef<[Template]>> EgressTable for Egresses<R, T> {
    #[inline(always)]
    fn egress(&self, id: EgressId) -> Option<&Egress> {
        self.records.egress(id)
    }
    #[inline(always)]
    fn count(&self) -> usize {
        self.records.count()
    }
}

impl<R, T: AsRef<[Template]>> TemplateTable for Egresses<R, T> {
    fn template(&self, number: u32) -> Option<&Template> {
        self.templates.as_ref().get(number as usize)
    }
}
