//! Atomics of what nodes share: those of the model checker where it runs.

#[cfg(not(loom))]
pub(super) use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
#[cfg(loom)]
pub(super) use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering};
