//! Encapsulations that others speak, too: octets by field, there and back, and against
//! implementations that nobody here wrote: etherparse, tshark, the kernel's VXLAN device, Open
//! vSwitch.

mod golden;
mod refusals;
mod round_trip;
mod world;
