//! How much memory a table has: what was allocated and not freed while it was built.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicIsize, Ordering::Relaxed};

/// The system's allocator; counts while something is built.
pub struct Counted;

static COUNTS: AtomicBool = AtomicBool::new(false);
static OCTETS: AtomicIsize = AtomicIsize::new(0);

fn count(octets: isize) {
    if COUNTS.load(Relaxed) {
        OCTETS.fetch_add(octets, Relaxed);
    }
}

// SAFETY: every call goes to the system's allocator as it is.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: see above.
        unsafe { System.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: see above.
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: see above.
        unsafe { System.dealloc(memory, layout) }
    }
    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        // SAFETY: see above.
        unsafe { System.realloc(memory, layout, size) }
    }
}

/// What `build` makes, and the octets that it has.
pub fn of<T>(build: impl FnOnce() -> T) -> (T, usize) {
    OCTETS.store(0, Relaxed);
    COUNTS.store(true, Relaxed);
    let made = build();
    COUNTS.store(false, Relaxed);
    (made, OCTETS.load(Relaxed).max(0) as usize)
}
