//! Calls to Linux that rustix does not offer, each behind a safe face. All `unsafe` of the
//! ports stands here.

pub(super) mod device;
pub(super) mod messages;
pub(super) mod option;
pub(super) mod ring;
