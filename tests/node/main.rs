//! The node as its users see it: slices, their control, what they are refused, and
//! that none can change what another gets.
#![cfg(feature = "alloc")]

mod control;
mod isolation;
mod links;
mod promises;
mod turns;
mod world;
