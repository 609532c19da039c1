//! Workers: what they do with packets, ports and control, in simulated time and in threads.
#![cfg(all(feature = "runtime", unix))]

#[path = "../node/world.rs"]
#[allow(dead_code)]
mod world;

mod fleet;
mod history;
mod rates;
mod sleep;
mod soak;
mod wire;
