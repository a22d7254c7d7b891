//! Counts what each thread allocates, so that a script's memory can be limited.
//!
//! For script engines that have no cap on memory as a whole. A worker is one thread and runs one script at a time, so what its thread
//! allocated and did not free while a hook ran is what that hook holds. Costs about a nanosecond an allocation; the
//! memory itself comes from the system's allocator.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

/// The program's allocator.
pub struct Counting;

thread_local! {
    static NET: Cell<isize> = const { Cell::new(0) };
}

/// Bytes that this thread has allocated less those it has freed. Only differences mean something: memory may be
/// freed by another thread than the one that asked for it.
pub fn net_bytes_of_thread() -> isize {
    NET.with(Cell::get)
}

fn count(bytes: isize) {
    // The cell has no destructor, so it is there as long as its thread; an allocator must not panic all the same.
    let _ = NET.try_with(|net| net.set(net.get().wrapping_add(bytes)));
}

// SAFETY: every call goes to the system's allocator with the caller's own arguments, so its guarantees are kept;
// counting neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are passed on.
        let made = unsafe { System.alloc(layout) };
        if !made.is_null() {
            count(layout.size() as isize);
        }
        made
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(at, layout) };
        count(-(layout.size() as isize));
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are passed on.
        let made = unsafe { System.alloc_zeroed(layout) };
        if !made.is_null() {
            count(layout.size() as isize);
        }
        made
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller's promises are passed on.
        let made = unsafe { System.realloc(at, layout, new_size) };
        if !made.is_null() {
            count(new_size as isize - layout.size() as isize);
        }
        made
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
}
