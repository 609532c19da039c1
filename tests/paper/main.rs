//! Experiments of "Supercharging PlanetLab" (SIGCOMM 2007), replayed in simulated time
//! and held against models that share no code with the crate.

mod fig07;
mod fig08;
mod fluid;
mod rates;
