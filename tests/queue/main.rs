//! The queue manager held to models that share no code with it: deficit round robin as it was
//! published, gone through round by round; the fluid of general processor sharing; and plain
//! accounts. And what an adversary among the slices can do to the others.
#![cfg(all(feature = "alloc", feature = "conformance"))]

mod attacks;
mod drr;
#[path = "../paper/fluid.rs"]
mod fluid;
mod gps;
mod ledger;
mod order;
mod paced;
mod policy;
mod race;
mod reserve;
mod rounds;
mod scale;
mod tricks;
mod weights;
