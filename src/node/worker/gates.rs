//! What slices and their links may send in: a worker's meters.

use super::*;
use crate::node::scheduling::{Policed, Policing};
use crate::pipeline::Police;
use crate::queue::meter::{Action as Does, Colour, Marker, Meter, MeterError};

/// What a meter coloured green, yellow and red, and what was dropped; one worker counts.
pub(super) type GateCounts = Arc<[AtomicCount; 4]>;

/// A meter, and what is done by its word.
#[derive(Debug)]
pub(super) struct Gate {
    marker: Marker,
    actions: [Does; 3],
    counts: GateCounts,
}

impl Gate {
    /// One worker's part of what is asked for.
    pub(super) fn new(
        policing: &Policing, workers: usize, longest: u32, counts: GateCounts,
    ) -> Result<Self, MeterError> {
        Ok(Self { marker: policing.marker(workers, longest)?, actions: policing.actions, counts })
    }

    #[inline(always)]
    fn pass(&mut self, now: Nanos, octets: u32, colour: Colour) -> Result<Colour, DropReason> {
        let metered = self.marker.meter(now, octets, colour);
        let ([green, yellow, red], [of_green, of_yellow, of_red, dropped]) = (self.actions, &*self.counts);
        let (action, count) = match metered {
            Colour::Green => (green, of_green),
            Colour::Yellow => (yellow, of_yellow),
            Colour::Red => (red, of_red),
        };
        count.bump(octets);
        match action {
            Does::Pass => Ok(colour),
            Does::Recolour(colour) => Ok(colour),
            Does::Drop => {
                dropped.bump(octets);
                Err(DropReason::Policed)
            }
        }
    }
}

/// The meters of a slice: its links' first, then its own.
#[derive(Debug, Default)]
struct SliceGates {
    own: Option<Gate>,
    links: Vec<Option<Gate>>,
}

/// All meters of a worker, by number of slice less one.
#[derive(Debug, Default)]
pub(super) struct Gates {
    slices: Vec<Option<Box<SliceGates>>>,
    /// How many slices have any.
    pub(super) policed: usize,
}

impl Gates {
    /// Puts a meter in the place of one, or none: of a slice, or of one of its links.
    pub(super) fn set(&mut self, slice: SliceId, link: Option<u16>, gate: Option<Gate>) {
        let Some(at) = usize::from(slice.0).checked_sub(1) else { return };
        if at >= self.slices.len() {
            self.slices.resize_with(at + 1, || None);
        }
        let Some(place) = self.slices.get_mut(at) else { return };
        let gates = place.get_or_insert_default();
        match link.map(usize::from) {
            None => gates.own = gate,
            Some(link) => {
                if link >= gates.links.len() {
                    gates.links.resize_with(link + 1, || None);
                }
                if let Some(place) = gates.links.get_mut(link) {
                    *place = gate;
                }
            }
        }
        if gates.own.is_none() && gates.links.iter().all(Option::is_none) {
            *place = None;
        }
        self.policed = self.slices.iter().flatten().count();
    }

    /// A slice is gone.
    pub(super) fn clear(&mut self, slice: SliceId) {
        if let Some(place) = usize::from(slice.0).checked_sub(1).and_then(|at| self.slices.get_mut(at)) {
            *place = None;
        }
        self.policed = self.slices.iter().flatten().count();
    }
}

impl Police for Gates {
    #[inline(always)]
    fn police(&mut self, now: Nanos, admission: Admission, octets: u32) -> Result<u8, DropReason> {
        let at = usize::from(admission.slice.0).wrapping_sub(1);
        let Some(Some(gates)) = self.slices.get_mut(at) else { return Ok(0) };
        let mut colour = Colour::Green;
        if let Some(Some(gate)) = gates.links.get_mut(usize::from(admission.link.0)) {
            colour = gate.pass(now, octets, colour)?;
        }
        if let Some(gate) = &mut gates.own {
            colour = gate.pass(now, octets, colour)?;
        }
        Ok(colour.precedence())
    }
}

/// Adds up what workers counted.
pub(super) fn policed(counts: &[GateCounts]) -> Policed {
    let mut sum = Policed::default();
    for [green, yellow, red, dropped] in counts.iter().map(|counts| &**counts) {
        let [of_green, of_yellow, of_red] = &mut sum.coloured;
        *of_green += green.read();
        *of_yellow += yellow.read();
        *of_red += red.read();
        sum.dropped += dropped.read();
    }
    sum
}
