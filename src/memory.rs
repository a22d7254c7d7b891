//! Counts what each thread allocates, so that a script's memory can be limited.
//!
//! For script engines that have no cap on memory as a whole. A worker is one thread and runs one script at a time, so what its thread
//! allocated and did not free while a hook ran is what that hook holds. Costs about a nanosecond an allocation.
//!
//! The memory itself comes from mimalloc (Leijen, Zorn, de Moura: Mimalloc: Free List Sharding in Action, 2019). The system's allocator
//! merges and splits what is freed, piece by piece, which makes of a value of many small pieces that a script lets go a matter of
//! many milliseconds.

use libmimalloc_sys as mi;
use std::{
    alloc::{GlobalAlloc, Layout},
    cell::Cell,
    ffi::c_void,
};

/// The program's allocator.
pub struct Counting;

/// Larger blocks are not small pieces.
const SMALL: usize = 1024;

struct Thread {
    net: Cell<isize>,
    /// What of it is in large blocks.
    large: Cell<isize>,
}

thread_local! {
    static THREAD: Thread = const { Thread { net: Cell::new(0), large: Cell::new(0) } };
}

/// Bytes that this thread has allocated less those it has freed. Only differences mean something: memory may be
/// freed by another thread than the one that asked for it.
pub fn net_bytes_of_thread() -> isize {
    THREAD.with(|thread| thread.net.get())
}

/// What of [`net_bytes_of_thread`] is in blocks of a kibibyte at most: letting it go takes a call for each.
pub fn small_bytes_of_thread() -> isize {
    THREAD.with(|thread| thread.net.get().wrapping_sub(thread.large.get()))
}

/// `mi_option_purge_delay` of mimalloc 3's `mimalloc.h`, in milliseconds; the crate has no name for it.
const PURGE_DELAY: mi::mi_option_t = 15;

/// What is free goes back to the system a tenth of a second later, and not a second: a script that was stopped may leave 64 MiB. Were
/// it ten milliseconds, as with mimalloc 2, busy workers would have their pages taken and given all the time: two faults for three
/// requests that call two services.
pub fn give_back_soon() {
    // SAFETY: sets a number that is read when something is freed.
    unsafe { mi::mi_option_set(PURGE_DELAY, 100) }
}

#[inline]
fn count(bytes: isize, size: usize) {
    // The cells have no destructor, so they are there as long as their thread; an allocator must not panic all the same.
    let _ = THREAD.try_with(|thread| {
        thread.net.set(thread.net.get().wrapping_add(bytes));
        if size > SMALL {
            thread.large.set(thread.large.get().wrapping_add(bytes));
        }
    });
}

/// Whether mimalloc aligns a block of this layout without being told: by 16 what is as long, by 8 the rest (`MI_MAX_ALIGN_SIZE`).
const fn is_aligned_anyway(size: usize, align: usize) -> bool {
    align <= size_of::<usize>() || (align <= 2 * size_of::<usize>() && size >= align)
}

// SAFETY: all blocks are mimalloc's, made, grown and freed by its functions as these are promised; counting neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let (size, align) = (layout.size(), layout.align());
        // SAFETY: the caller promises that the size is not zero, and an alignment is a power of two.
        let made = unsafe {
            if is_aligned_anyway(size, align) { mi::mi_malloc(size) } else { mi::mi_malloc_aligned(size, align) }
        };
        if !made.is_null() {
            count(size as isize, size);
        }
        made.cast()
    }

    #[inline]
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(-(layout.size() as isize), layout.size());
        // SAFETY: the caller gives up the block, which was made here.
        unsafe { mi::mi_free(at.cast::<c_void>()) };
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as in `alloc`.
        let made = unsafe { mi::mi_zalloc_aligned(layout.size(), layout.align()) };
        if !made.is_null() {
            count(layout.size() as isize, layout.size());
        }
        made.cast()
    }

    #[inline]
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let (at, align) = (at.cast::<c_void>(), layout.align());
        // SAFETY: the caller's block was made here; as in `alloc`.
        let made = unsafe {
            if is_aligned_anyway(new_size, align) {
                mi::mi_realloc(at, new_size)
            } else {
                mi::mi_realloc_aligned(at, new_size, align)
            }
        };
        if !made.is_null() {
            count(-(layout.size() as isize), layout.size());
            count(new_size as isize, new_size);
        }
        made.cast()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_thread_holds_is_counted() {
        let before = net_bytes_of_thread();
        let mut held = Vec::<u8>::with_capacity(1 << 20);
        assert_eq!(net_bytes_of_thread() - before, 1 << 20);
        held.reserve_exact(2 << 20);
        assert_eq!(net_bytes_of_thread() - before, 2 << 20);
        drop(held);
        assert_eq!(net_bytes_of_thread() - before, 0);
    }

    #[test]
    fn blocks_are_aligned_and_keep_what_they_hold() {
        for align in (0..8).map(|bits| 1_usize << bits) {
            let mut held = Vec::new();
            for size in (1..400).chain([1000, 1024, 1025, 5000, 100_000]) {
                let layout = Layout::from_size_align(size, align).expect("a layout");
                // SAFETY: the size is not zero; the block is freed below, with the layout that it was last given.
                unsafe {
                    let at = Counting.alloc(layout);
                    at.write_bytes(size as u8, size);
                    let at = Counting.realloc(at, layout, size + 33);
                    assert_eq!(at.align_offset(align), 0, "{size} by {align}");
                    held.push((at, size));
                    let zeroed = Counting.alloc_zeroed(layout);
                    assert!(zeroed.align_offset(align) == 0 && (0..size).all(|index| *zeroed.add(index) == 0));
                    Counting.dealloc(zeroed, layout);
                }
            }
            for (at, size) in held {
                // SAFETY: as above.
                unsafe {
                    assert!((0..size).all(|index| *at.add(index) == size as u8));
                    Counting.dealloc(at, Layout::from_size_align(size + 33, align).expect("a layout"));
                }
            }
        }
    }

    /// Another version of mimalloc may count its options differently. This one has a default that no other has.
    #[test]
    fn the_option_is_the_one_that_is_meant() {
        // SAFETY: reads a number.
        assert_eq!(unsafe { mi::mi_option_get(PURGE_DELAY) }, 1000);
    }

    #[test]
    fn small_pieces_are_told_from_large_ones() {
        let before = small_bytes_of_thread();
        let large = Vec::<u8>::with_capacity(SMALL + 1);
        assert_eq!(small_bytes_of_thread() - before, 0);
        let mut grows = Vec::<u8>::with_capacity(10);
        assert_eq!(small_bytes_of_thread() - before, 10);
        grows.reserve_exact(SMALL + 1);
        assert_eq!(small_bytes_of_thread() - before, 0);
        drop((large, grows));
        assert_eq!(small_bytes_of_thread() - before, 0);
    }
}
