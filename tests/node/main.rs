//! The node as its users see it: slices, their control, what they are refused, and
//! that none can change what another gets.
#![cfg(feature = "alloc")]

mod control;
mod isolation;
mod links;
mod manager;
mod policers;
mod promises;
mod queues;
mod tunnels;
mod turns;
mod world;
