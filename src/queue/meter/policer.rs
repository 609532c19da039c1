//! Meters of many slices or links, and what is done with each colour.

use crate::exit::DropReason;
use crate::queue::meter::{Colour, Meter};
use crate::store::Store;
use crate::time::Nanos;

/// What is done with a packet of some colour.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Action {
    /// It passes with the colour it came with.
    Pass,
    /// It passes with this colour, which becomes its drop precedence.
    Recolour(Colour),
    /// It is dropped: [`DropReason::Policed`].
    Drop,
}

impl Action {
    /// For green, yellow and red: each passes with the colour of the meter as its drop
    /// precedence.
    pub const MARK: [Self; 3] =
        [Self::Recolour(Colour::Green), Self::Recolour(Colour::Yellow), Self::Recolour(Colour::Red)];

    /// The same, but for what is red: that is dropped.
    pub const MARK_AND_DROP: [Self; 3] =
        [Self::Recolour(Colour::Green), Self::Recolour(Colour::Yellow), Self::Drop];
}

/// What was done, to be counted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Done {
    /// [`Action::Pass`].
    Passed,
    /// [`Action::Recolour`], to whatever colour.
    Recoloured,
    /// [`Action::Drop`].
    Dropped,
}

impl Done {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Passed, Self::Recoloured, Self::Dropped];
}

/// Packets and their octets, both wrapping at 2^64.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Tally {
    /// Packets.
    pub packets: u64,
    /// Their octets, as they were metered.
    pub octets: u64,
}

impl Tally {
    /// Nothing counted.
    pub const ZERO: Self = Self { packets: 0, octets: 0 };

    #[inline(always)]
    const fn count(&mut self, octets: u32) {
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add(octets as u64);
    }
}

impl core::iter::Sum for Tally {
    fn sum<I: Iterator<Item = Self>>(tallies: I) -> Self {
        tallies.fold(Self::ZERO, |sum, tally| Self {
            packets: sum.packets.wrapping_add(tally.packets),
            octets: sum.octets.wrapping_add(tally.octets),
        })
    }
}

/// Why nothing was set up: there is no such meter.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("meter {at} is out of range: the policer has {meters}")]
pub struct UnknownMeter {
    /// The number asked for.
    pub at: usize,
    /// How many there are.
    pub meters: usize,
}

/// Memory of a [`Policer`] for one meter, what is done by its word, and what was.
#[derive(Clone, Copy, Debug)]
pub struct Policed<M> {
    /// Which action, and whether there is a meter to ask.
    policy: Option<Policy<M>>,
    /// By the colour that the meter gave, and by what was done. One of them is touched
    /// by a packet; the sums by colour and by action are made when they are asked for.
    counts: [[Tally; 3]; 3],
}

#[derive(Clone, Copy, Debug)]
struct Policy<M> {
    meter: M,
    actions: [Action; 3],
}

impl<M> Policed<M> {
    /// Without a meter, nothing counted.
    pub const NEW: Self = Self { policy: None, counts: [[Tally::ZERO; 3]; 3] };
}

/// Holds slices or links, by numbers of the caller's, each to the rate of its own meter:
/// input shares, enforced where packets come in.
///
/// Whoever has no meter is not policed, and not counted. Time O(1) a packet, two or
/// three cache lines; 200 to 250 octets a meter, in whatever memory `S` is.
///
/// ```
/// use fastpath::exit::DropReason;
/// use fastpath::queue::Rate;
/// use fastpath::queue::meter::{Action, Colour, Done, Mode, Policed, Policer, SingleRate, SingleRateConfig};
/// use fastpath::time::Nanos;
///
/// let mut policer = Policer::new([const { Policed::NEW }; 4]);
/// let cir = Rate::bits_per_second(8_000_000)?;
/// let config = SingleRateConfig { cir, cbs: 3000, ebs: 1500, mode: Mode::ColourBlind };
/// policer.set(2, SingleRate::new(config)?, Action::MARK_AND_DROP)?;
/// let now = Nanos::ZERO;
/// let mut police = |octets| policer.police(now, 2, octets, Colour::Green).map(Colour::precedence);
/// assert_eq!([police(3000), police(1500), police(1500)], [Ok(0), Ok(1), Err(DropReason::Policed)]);
/// assert_eq!(policer.done(2, Done::Dropped).octets, 1500);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Policer<S> {
    entries: S,
}

impl<S> Policer<S> {
    /// A meter for each entry of `entries`.
    pub const fn new(entries: S) -> Self {
        Self { entries }
    }
}

impl<M: Meter, S: Store<Item = Policed<M>>> Policer<S> {
    /// Polices `at` by `meter` from now on, with an action for green, yellow and red.
    /// What was counted stays.
    ///
    /// # Errors
    ///
    /// [`UnknownMeter`]; nothing has changed.
    pub fn set(&mut self, at: usize, meter: M, actions: [Action; 3]) -> Result<(), UnknownMeter> {
        let entries = self.entries.items_mut();
        let unknown = UnknownMeter { at, meters: entries.len() };
        entries.get_mut(at).ok_or(unknown)?.policy = Some(Policy { meter, actions });
        Ok(())
    }

    /// Polices `at` no more, and forgets what was counted: for a new owner of the number.
    pub fn clear(&mut self, at: usize) {
        if let Some(entry) = self.entries.items_mut().get_mut(at) {
            *entry = Policed::NEW;
        }
    }

    /// Meters an IP packet of `octets`, and says with what colour it goes on.
    ///
    /// # Errors
    ///
    /// [`DropReason::Policed`] if that is the action for the colour the meter gave.
    #[inline(always)]
    pub fn police(
        &mut self, now: Nanos, at: usize, octets: u32, colour: Colour,
    ) -> Result<Colour, DropReason> {
        let Some(entry) = self.entries.items_mut().get_mut(at) else { return Ok(colour) };
        let Some(policy) = &mut entry.policy else { return Ok(colour) };
        let metered = policy.meter.meter(now, octets, colour);
        let [green, yellow, red] = policy.actions;
        let [of_green, of_yellow, of_red] = &mut entry.counts;
        let (action, [passed, recoloured, dropped]) = match metered {
            Colour::Green => (green, of_green),
            Colour::Yellow => (yellow, of_yellow),
            Colour::Red => (red, of_red),
        };
        let (tally, outcome) = match action {
            Action::Pass => (passed, Ok(colour)),
            Action::Recolour(colour) => (recoloured, Ok(colour)),
            Action::Drop => (dropped, Err(DropReason::Policed)),
        };
        tally.count(octets);
        outcome
    }

    /// What the meter of `at` coloured so; 0 if there is none.
    pub fn coloured(&self, at: usize, colour: Colour) -> Tally {
        Done::ALL.into_iter().map(|done| self.count(at, colour, done)).sum()
    }

    /// What was done so with packets of `at`; 0 if there is no such meter.
    pub fn done(&self, at: usize, done: Done) -> Tally {
        Colour::ALL.into_iter().map(|colour| self.count(at, colour, done)).sum()
    }

    /// What the meter of `at` coloured so and was then done so with.
    pub fn count(&self, at: usize, colour: Colour, done: Done) -> Tally {
        let counts = self.entries.items().get(at).and_then(|entry| entry.counts.get(colour as usize));
        counts.and_then(|counts| counts.get(done as usize)).copied().unwrap_or_default()
    }
}
