//! Packets: octets in someone's buffer, and the window of it that is the packet.
//!
//! ```
//! use fastpath::packet::Packet;
//!
//! // 64 octets of headroom, then a packet of three.
//! let mut packet = Packet::with_headroom([0u8; 128], 64, &[1, 2, 3])?;
//! let inner = packet.window(1, 2)?;
//! packet.edit(inner, |packet| packet.push(&[9, 9]).map(|_| ()))?;
//! assert_eq!(packet.bytes(), [9, 9, 2, 3]);
//! # Ok::<(), fastpath::exit::DropReason>(())
//! ```

use crate::arch::prefetch;
use crate::exit::DropReason::{self, NoHeadroom, Truncated};

/// A packet that owns its buffer, whatever the buffer is.
///
/// `B` is the caller's: `[u8; 2048]`, `&mut [u8; 2048]`, `BytesMut`, a pool handle,
/// a DPDK mbuf, a UMEM frame. Dropping the packet drops the buffer, so a lost packet
/// is a freed buffer and never a leak. With a thin `B` a packet is 16 octets,
/// `Option` of it too, and a queue may hold it by value: the scheduler then never
/// touches the buffer.
///
/// Not `Copy`: a buffer is never copied unseen.
#[derive(Clone, Debug)]
pub struct Packet<B> {
    buf: B,
    window: Window,
}

/// A part of one packet's buffer. Says where, gives no access.
///
/// Invariant: `start <= end`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Window {
    start: u32,
    end: u32,
}

impl Window {
    /// The part of `octets`, which lie in this window, that is `len` octets from
    /// `offset` on; and its window.
    ///
    /// # Errors
    ///
    /// [`Truncated`] if there are fewer octets.
    #[inline(always)]
    pub(crate) fn inner(self, octets: &[u8], offset: u16, len: u16) -> Result<(Self, &[u8]), DropReason> {
        let (from, to) = (usize::from(offset), usize::from(offset) + usize::from(len));
        let octets = octets.get(from..to).ok_or(Truncated)?;
        let start = self.start.wrapping_add(u32::from(offset));
        Ok((Self { start, end: start.wrapping_add(u32::from(len)) }, octets))
    }
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> Packet<B> {
    /// Takes the octets `start..end` of `buf` as a packet.
    ///
    /// # Errors
    ///
    /// [`Truncated`] if `start..end` is not a range inside `buf`.
    pub fn new(buf: B, start: u32, end: u32) -> Result<Self, DropReason> {
        match buf.as_ref().get(start as usize..end as usize) {
            Some(_) => Ok(Self { buf, window: Window { start, end } }),
            None => Err(Truncated),
        }
    }

    /// Copies `octets` into `buf`, behind `headroom` octets.
    ///
    /// # Errors
    ///
    /// [`Truncated`] if `buf` is too short for both.
    pub fn with_headroom(mut buf: B, headroom: u32, octets: &[u8]) -> Result<Self, DropReason> {
        let room = buf.as_mut().get_mut(headroom as usize..).and_then(|room| room.get_mut(..octets.len()));
        room.ok_or(Truncated)?.copy_from_slice(octets);
        let end = u32::try_from(octets.len()).ok().and_then(|len| headroom.checked_add(len));
        Self::new(buf, headroom, end.ok_or(Truncated)?)
    }

    /// Copies `parts`, one behind the other, into `buf` behind `headroom` octets.
    ///
    /// # Errors
    ///
    /// Gives the buffer back if it is too short.
    #[cfg(any(feature = "pcap", all(feature = "net", target_os = "linux")))]
    pub(crate) fn gather(mut buf: B, headroom: u32, parts: &[&[u8]]) -> Result<Self, B> {
        let mut end = headroom as usize;
        for part in parts {
            match buf.as_mut().get_mut(end..).and_then(|room| room.get_mut(..part.len())) {
                Some(room) => room.copy_from_slice(part),
                None => return Err(buf),
            }
            end += part.len();
        }
        match buf.as_ref().get(headroom as usize..end) {
            Some(_) => Ok(Self { buf, window: Window { start: headroom, end: end as u32 } }),
            None => Err(buf),
        }
    }

    /// The packet's octets.
    #[inline(always)]
    pub fn bytes(&self) -> &[u8] {
        self.part(self.window)
    }

    /// Starts fetching the two cache lines in which headers are.
    #[inline(always)]
    pub(crate) fn prefetch(&self) {
        let (buf, start) = (self.buf.as_ref(), self.window.start as usize);
        if let (Some(first), Some(second)) = (buf.get(start), buf.get(start + 64)) {
            prefetch(first);
            prefetch(second);
        }
    }

    /// Length in octets.
    #[inline(always)]
    pub fn octets(&self) -> u32 {
        self.window.end.wrapping_sub(self.window.start)
    }

    /// Octets of the buffer in front of the packet.
    pub fn headroom(&self) -> u32 {
        self.window.start
    }

    /// The window of `len` octets from `offset` on.
    ///
    /// # Errors
    ///
    /// [`Truncated`] if the packet is shorter than that.
    #[inline(always)]
    pub fn window(&self, offset: u16, len: u16) -> Result<Window, DropReason> {
        let start = self.window.start.wrapping_add(u32::from(offset));
        let window = Window { start, end: start.wrapping_add(u32::from(len)) };
        if window.end <= self.window.end { Ok(window) } else { Err(Truncated) }
    }

    /// The whole packet as a window.
    #[inline(always)]
    pub fn whole(&self) -> Window {
        self.window
    }

    /// The octets of `window`; none if it is not a window of this buffer.
    #[inline(always)]
    pub fn part(&self, window: Window) -> &[u8] {
        match self.buf.as_ref().get(window.start as usize..window.end as usize) {
            Some(bytes) => bytes,
            None => empty(),
        }
    }

    /// The packet's octets, for rewriting in place.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        let (start, end) = (self.window.start as usize, self.window.end as usize);
        self.buf.as_mut().get_mut(start..end).unwrap_or_default()
    }

    /// Makes `window` the packet; what lies around it stays in the buffer.
    pub fn narrow(&mut self, window: Window) {
        self.window = window;
    }

    /// Lets `f` rewrite the packet that lies in `window`, and makes what `f` leaves
    /// the packet.
    ///
    /// # Errors
    ///
    /// Those of `f`; the packet is then where it was.
    #[inline(always)]
    pub fn edit<R, E>(
        &mut self, window: Window, f: impl FnOnce(&mut PacketMut<'_>) -> Result<R, E>,
    ) -> Result<R, E> {
        let (start, end) = (window.start as usize, window.end as usize);
        let mut packet = PacketMut { buf: self.buf.as_mut(), start, end };
        let done = f(&mut packet)?;
        self.window = Window { start: packet.start as u32, end: packet.end as u32 };
        Ok(done)
    }

    /// Gives the buffer back.
    pub fn into_buf(self) -> B {
        self.buf
    }
}

/// A jump that is never taken is cheaper than a choice of two pointers.
#[cold]
fn empty() -> &'static [u8] {
    &[]
}

#[cold]
fn empty_mut() -> &'static mut [u8] {
    &mut []
}

/// A packet that is being rewritten: not generic, so that block traits stay object
/// safe.
///
/// Only [`Packet::edit`] and [`PacketMut::new`] make one. It shows no octet that is
/// not the packet's: what lies before and behind may be another tenant's leavings.
#[derive(Debug)]
pub struct PacketMut<'a> {
    buf: &'a mut [u8],
    start: usize,
    end: usize,
}

impl<'a> PacketMut<'a> {
    /// The octets of `buf` from `headroom` on; a headroom longer than the buffer
    /// leaves an empty packet.
    pub fn new(buf: &'a mut [u8], headroom: usize) -> Self {
        let end = buf.len();
        Self { buf, start: headroom.min(end), end }
    }

    /// The packet's octets.
    #[inline(always)]
    pub fn bytes(&self) -> &[u8] {
        match self.buf.get(self.start..self.end) {
            Some(bytes) => bytes,
            None => empty(),
        }
    }

    /// The packet's octets, for rewriting in place.
    #[inline(always)]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        match self.buf.get_mut(self.start..self.end) {
            Some(bytes) => bytes,
            None => empty_mut(),
        }
    }

    /// Length in octets.
    #[inline(always)]
    pub fn octets(&self) -> usize {
        self.end.wrapping_sub(self.start)
    }

    /// Strips `n` octets from the front. No octet moves.
    ///
    /// # Errors
    ///
    /// [`Truncated`] if fewer than `n` are left; the packet is unchanged.
    #[inline(always)]
    pub fn pull(&mut self, n: usize) -> Result<(), DropReason> {
        if n > self.octets() {
            return Err(Truncated);
        }
        self.start += n;
        Ok(())
    }

    /// Cuts the packet to its first `len` octets; a longer `len` changes nothing.
    #[inline(always)]
    pub fn truncate(&mut self, len: usize) {
        if len < self.octets() {
            self.end = self.start + len;
        }
    }

    /// Puts `header` in front of the packet and returns it, to be patched in place.
    /// (A copy patched before it is put costs a stalled load.)
    ///
    /// # Errors
    ///
    /// [`NoHeadroom`] if the buffer has less room; the packet is unchanged.
    #[inline(always)]
    pub fn push<const N: usize>(&mut self, header: &[u8; N]) -> Result<&mut [u8; N], DropReason> {
        let start = self.start.checked_sub(N).ok_or(NoHeadroom)?;
        let room = self.buf.get_mut(start..).and_then(<[u8]>::first_chunk_mut);
        let room = room.ok_or(NoHeadroom)?;
        *room = *header;
        self.start = start;
        Ok(room)
    }

    /// Puts the last `len` octets of `padded` in front of the packet and returns the last
    /// `TAIL` of them, to be patched in place.
    ///
    /// Where there is headroom for it, all of `padded` is copied, whatever `len` is: a
    /// copy of one length costs no choice.
    ///
    /// # Errors
    ///
    /// [`NoHeadroom`] if the buffer has less room than `len`; the packet is unchanged.
    #[inline(always)]
    pub(crate) fn push_padded<const N: usize, const TAIL: usize>(
        &mut self, padded: &[u8; N], len: u8,
    ) -> Result<&mut [u8; TAIL], DropReason> {
        if self.start < N || self.start > self.buf.len() {
            return self.push_tail(padded, len);
        }
        let room = self.buf.get_mut(self.start - N..).and_then(<[u8]>::first_chunk_mut::<N>);
        let room = room.ok_or(NoHeadroom)?;
        *room = *padded;
        self.start -= usize::from(len);
        room.last_chunk_mut().ok_or(NoHeadroom)
    }

    /// `push_padded` where headroom is short.
    #[cold]
    fn push_tail<const TAIL: usize>(
        &mut self, padded: &[u8], len: u8,
    ) -> Result<&mut [u8; TAIL], DropReason> {
        let header = padded.len().checked_sub(usize::from(len)).and_then(|at| padded.get(at..));
        self.push_slice(header.ok_or(NoHeadroom)?)?.last_chunk_mut().ok_or(NoHeadroom)
    }

    /// [`push`](Self::push) of a header whose length is known at run time.
    ///
    /// # Errors
    ///
    /// [`NoHeadroom`] if the buffer has less room; the packet is unchanged.
    pub fn push_slice(&mut self, header: &[u8]) -> Result<&mut [u8], DropReason> {
        let start = self.start.checked_sub(header.len()).ok_or(NoHeadroom)?;
        let room = self.buf.get_mut(start..self.start).ok_or(NoHeadroom)?;
        room.copy_from_slice(header);
        self.start = start;
        Ok(room)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_move_no_octet_and_fail_whole() {
        let mut packet = Packet::new([1, 2, 3, 4, 5], 2, 5).unwrap();
        let window = packet.window(1, 1).unwrap();
        let failed = packet.edit(window, |p| p.pull(2));
        assert_eq!((failed, packet.bytes()), (Err(Truncated), &[3, 4, 5][..]));
        let failed = packet.edit(window, |p| p.push(&[0; 4]).map(|_| ()));
        assert_eq!((failed, packet.bytes()), (Err(NoHeadroom), &[3, 4, 5][..]));
        let failed = packet.edit(window, |p| p.push_slice(&[0; 4]).map(|_| ()));
        assert_eq!((failed, packet.bytes()), (Err(NoHeadroom), &[3, 4, 5][..]));
        assert_eq!(packet.window(1, 3), Err(Truncated));
        assert_eq!(packet.part(Window::default()), []);
        packet.edit(window, |p| p.push(&[8, 9]).map(|_| ())).unwrap();
        assert_eq!(packet.bytes(), [8, 9, 4]);
        assert_eq!(packet.into_buf(), [1, 8, 9, 4, 5]);
        assert_eq!(Packet::new([0; 4], 3, 2).err(), Some(Truncated));
    }

    #[test]
    fn a_packet_fits_its_buffer_or_is_refused() {
        assert_eq!(Packet::with_headroom([0; 4], 2, &[1, 2, 3]).err(), Some(Truncated));
        assert_eq!(Packet::with_headroom([0; 4], u32::MAX, &[1]).err(), Some(Truncated));
        let packet = Packet::with_headroom([0; 4], 1, &[1, 2, 3]).unwrap();
        assert_eq!((packet.bytes(), packet.headroom()), (&[1, 2, 3][..], 1));
    }

    #[test]
    fn the_view_of_a_rewrite_shows_the_packet_only() {
        let mut buf = [1, 2, 3, 4];
        let mut view = PacketMut::new(&mut buf, 2);
        view.truncate(9);
        view.truncate(1);
        assert_eq!(view.bytes(), [3]);
        view.push_slice(&[7]).unwrap();
        assert_eq!(view.bytes_mut(), [7, 3]);
        assert_eq!(PacketMut::new(&mut buf, 9).bytes(), []);
    }

    #[test]
    fn a_thin_packet_is_sixteen_octets() {
        assert_eq!(size_of::<Option<Packet<&mut [u8; 2048]>>>(), 16);
    }
}
