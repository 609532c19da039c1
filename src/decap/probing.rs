//! Open addressing with linear probing: how entries are put in and taken out.
//!
//! Whoever looks up starts at an entry's home and goes on to the first empty entry, or for
//! as many entries as the longest probe has been.

/// An entry of such a table.
pub(super) trait Probed: Copy {
    /// No entry.
    const EMPTY: Self;

    /// Whether this is none.
    fn is_empty(&self) -> bool;

    /// Its hash, of which the upper bits count.
    fn hash(&self) -> u64;
}

/// The shift that makes a place of a hash, for a table of `entries`: beyond a power of two
/// they are not used.
pub(super) fn shift(entries: usize) -> u32 {
    // A shift of 64 would be one too far: one entry is as good as none.
    match entries.checked_ilog2().unwrap_or(0) {
        0 => 63,
        bits => 64 - bits,
    }
}

/// Puts `entry` at the first empty place from its home on. Returns how many entries a
/// look-up of it reads, or `None` if all are taken but the one of the `used` + 1 that stays
/// empty, so that a run has an end.
pub(super) fn insert<E: Probed>(entries: &mut [E], shift: u32, used: usize, entry: E) -> Option<usize> {
    let mask = (u64::MAX >> shift) as usize;
    if used >= mask || entries.len() <= mask {
        return None;
    }
    let home = (entry.hash() >> shift) as usize;
    for distance in 0..=mask {
        let place = entries.get_mut((home + distance) & mask)?;
        if place.is_empty() {
            *place = entry;
            return Some(distance + 1);
        }
    }
    None
}

/// Empties entry `hole`, and moves back what was pushed away from its home by it.
pub(super) fn remove<E: Probed>(entries: &mut [E], shift: u32, mut hole: usize) -> Option<()> {
    let mask = (u64::MAX >> shift) as usize;
    let mut at = (hole + 1) & mask;
    loop {
        let entry = *entries.get(at)?;
        if entry.is_empty() {
            break;
        }
        // How far from its home it stands, and how far the hole is from there.
        let distance = at.wrapping_sub((entry.hash() >> shift) as usize) & mask;
        let reach = at.wrapping_sub(hole) & mask;
        if distance >= reach {
            *entries.get_mut(hole)? = entry;
            hole = at;
        }
        at = (at + 1) & mask;
    }
    *entries.get_mut(hole)? = E::EMPTY;
    Some(())
}
