//! The code options that one pipeline holds.

use crate::code_option::{Answer, CodeOption, Context, Outgoing, Query};
use crate::exit::{DropReason, Exception, Exit};
use crate::id::OptionId;
use crate::packet::PacketMut;

/// The options one pipeline holds; a slice picks one by number at run time.
///
/// A tuple of up to 12 options is a set: the choice compiles to a jump and the chosen
/// body is inlined behind it. An array is a set of one type, which may be
/// `&dyn CodeOption` for options chosen when the program starts.
///
/// [`OptionId::FRAME`] is no option's number: its packets are no packets of a code option
/// but Ethernet frames, which `parse` hands to the slow path as [`Exception::Frame`].
pub trait CodeOptionSet {
    /// `parse` of option `id`.
    ///
    /// # Errors
    ///
    /// Those of the option, [`DropReason::UnknownOption`], and [`Exception::Frame`] for
    /// [`OptionId::FRAME`].
    fn parse(&self, id: OptionId, packet: &[u8], cx: &Context<'_>) -> Result<Query, Exit>;

    /// `format` of option `id`.
    ///
    /// # Errors
    ///
    /// Those of the option, and [`DropReason::UnknownOption`].
    fn format(
        &self, id: OptionId, packet: &mut PacketMut<'_>, found: Answer, cx: &Context<'_>,
    ) -> Result<Outgoing, Exit>;

    /// `flow_hash` of option `id`; 0 if there is none.
    fn flow_hash(&self, id: OptionId, packet: &[u8]) -> u32;

    /// `own_name` of option `id`.
    fn own_name(&self, id: OptionId, exit: Exit) -> Option<&'static str>;

    /// How many options it holds.
    fn count(&self) -> usize;
}

const UNKNOWN: Exit = Exit::Drop(DropReason::UnknownOption);

/// What becomes of packets that no option is there for.
#[cold]
fn no_option(id: OptionId) -> Exit {
    if id == OptionId::FRAME { Exception::Frame.into() } else { UNKNOWN }
}

macro_rules! tuple_is_a_set {
    ($count:literal: $($name:ident . $index:tt),+) => {
        impl<$($name: CodeOption),+> CodeOptionSet for ($($name,)+) {
            #[inline(always)]
            fn parse(&self, id: OptionId, p: &[u8], cx: &Context<'_>) -> Result<Query, Exit> {
                match id.0 {
                    $($index => self.$index.parse(p, cx),)+
                    _ => Err(no_option(id)),
                }
            }
            #[inline(always)]
            fn format(&self, id: OptionId, p: &mut PacketMut<'_>, a: Answer, cx: &Context<'_>)
            -> Result<Outgoing, Exit> {
                match id.0 {
                    $($index => self.$index.format(p, a, cx),)+
                    _ => Err(UNKNOWN),
                }
            }
            fn flow_hash(&self, id: OptionId, p: &[u8]) -> u32 {
                match id.0 {
                    $($index => self.$index.flow_hash(p),)+
                    _ => 0,
                }
            }
            fn own_name(&self, id: OptionId, exit: Exit) -> Option<&'static str> {
                match id.0 {
                    $($index => self.$index.own_name(exit),)+
                    _ => None,
                }
            }
            fn count(&self) -> usize {
                $count
            }
        }
    };
}

tuple_is_a_set!(1: A.0);
tuple_is_a_set!(2: A.0, B.1);
tuple_is_a_set!(3: A.0, B.1, C.2);
tuple_is_a_set!(4: A.0, B.1, C.2, D.3);
tuple_is_a_set!(5: A.0, B.1, C.2, D.3, E.4);
tuple_is_a_set!(6: A.0, B.1, C.2, D.3, E.4, F.5);
tuple_is_a_set!(7: A.0, B.1, C.2, D.3, E.4, F.5, G.6);
tuple_is_a_set!(8: A.0, B.1, C.2, D.3, E.4, F.5, G.6, H.7);
tuple_is_a_set!(9: A.0, B.1, C.2, D.3, E.4, F.5, G.6, H.7, I.8);
tuple_is_a_set!(10: A.0, B.1, C.2, D.3, E.4, F.5, G.6, H.7, I.8, J.9);
tuple_is_a_set!(11: A.0, B.1, C.2, D.3, E.4, F.5, G.6, H.7, I.8, J.9, K.10);
tuple_is_a_set!(12: A.0, B.1, C.2, D.3, E.4, F.5, G.6, H.7, I.8, J.9, K.10, L.11);

macro_rules! array_is_a_set {
    ([$($generics:tt)*] $array:ty) => {
        impl<$($generics)*> CodeOptionSet for $array {
            #[inline(always)]
            fn parse(&self, id: OptionId, packet: &[u8], cx: &Context<'_>) -> Result<Query, Exit> {
                self.get(usize::from(id.0)).ok_or_else(|| no_option(id))?.parse(packet, cx)
            }
            #[inline(always)]
            fn format(
                &self, id: OptionId, packet: &mut PacketMut<'_>, found: Answer, cx: &Context<'_>,
            ) -> Result<Outgoing, Exit> {
                self.get(usize::from(id.0)).ok_or(UNKNOWN)?.format(packet, found, cx)
            }
            fn flow_hash(&self, id: OptionId, packet: &[u8]) -> u32 {
                self.get(usize::from(id.0)).map_or(0, |option| option.flow_hash(packet))
            }
            fn own_name(&self, id: OptionId, exit: Exit) -> Option<&'static str> {
                self.get(usize::from(id.0))?.own_name(exit)
            }
            fn count(&self) -> usize {
                self.len()
            }
        }
    };
}

array_is_a_set!([T: CodeOption, const N: usize] [T; N]);
#[cfg(feature = "alloc")]
array_is_a_set!([T: CodeOption] alloc::vec::Vec<T>);
