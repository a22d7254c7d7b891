//! Counts what each thread allocates, so that a script's memory can be limited, and keeps freed blocks for a worker's next request.
//!
//! For script engines that have no cap on memory as a whole. A worker is one thread and runs one script at a time, so what its thread
//! allocated and did not free while a hook ran is what that hook holds. Costs about a nanosecond an allocation.
//!
//! The memory itself comes from the system's allocator. It keeps seven blocks of a size at hand and merges and splits what is beyond
//! them, which is most of what a document of some dozen maps is made of; workers keep small blocks themselves, up to a bound.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::{Cell, UnsafeCell},
    ptr,
};

/// The program's allocator.
pub struct Counting;

/// The step from one size of blocks to the next, and the alignment of all that the system's allocator gives.
const GRAIN: usize = 16;
/// Sizes are rounded up to this much above a multiple of the grain, which is what glibc makes of them anyway.
const ABOVE: usize = 8;
/// Larger blocks are not kept.
const LARGEST: usize = 1024 + ABOVE;
const SHELVES: usize = LARGEST / GRAIN + 1;
/// Blocks kept of each size, at least; and bytes of each size, which for small ones are more blocks. A thousand connections that ask at
/// once give back a thousand blocks of a size before they want them again. 5 MiB if all sizes are used to that.
const KEPT: usize = 64;
const KEPT_BYTES: usize = 64 << 10;

/// Blocks of one size that are free, linked through their own first bytes.
#[derive(Clone, Copy)]
struct Shelf {
    first: *mut u8,
    blocks: u16,
}

struct Thread {
    net: Cell<isize>,
    keeps: Cell<bool>,
    shelves: UnsafeCell<[Shelf; SHELVES]>,
}

thread_local! {
    static THREAD: Thread = const {
        Thread {
            net: Cell::new(0),
            keeps: Cell::new(false),
            shelves: UnsafeCell::new([Shelf { first: ptr::null_mut(), blocks: 0 }; SHELVES]),
        }
    };
}

/// Bytes that this thread has allocated less those it has freed. Only differences mean something: memory may be
/// freed by another thread than the one that asked for it.
pub fn net_bytes_of_thread() -> isize {
    THREAD.with(|thread| thread.net.get())
}

/// From now on this thread keeps small blocks that it frees. For threads that last as long as the process: what a thread has kept
/// when it ends is lost.
pub fn keep_blocks_of_thread() {
    THREAD.with(|thread| thread.keeps.set(true));
}

/// The shelf of a size, if it is one that is kept. Zero never comes: allocators are not asked for it.
const fn shelf(layout: Layout) -> Option<usize> {
    if layout.size() > LARGEST || layout.align() > GRAIN || layout.size() == 0 {
        return None;
    }
    Some((layout.size() + GRAIN - 1 - ABOVE) / GRAIN)
}

/// What the system is asked for: small blocks rounded up, whether this thread keeps any or not, so that any block of a shelf's
/// size fits whatever else belongs there, also one that another thread made.
const fn rounded(layout: Layout) -> Layout {
    match shelf(layout) {
        // SAFETY: the size is at most LARGEST, and the alignment a power of two as it was.
        Some(index) => unsafe { Layout::from_size_align_unchecked(index * GRAIN + ABOVE, layout.align()) },
        None => layout,
    }
}

/// How many blocks each shelf keeps.
static MOST: [u16; SHELVES] = {
    let mut most = [0; SHELVES];
    let mut index = 0;
    while index < SHELVES {
        let blocks = KEPT_BYTES / (index * GRAIN + ABOVE);
        most[index] = if blocks < KEPT { KEPT } else { blocks } as u16;
        index += 1;
    }
    most
};

fn count(bytes: isize) {
    // The cell has no destructor, so it is there as long as its thread; an allocator must not panic all the same.
    let _ = THREAD.try_with(|thread| thread.net.set(thread.net.get().wrapping_add(bytes)));
}

/// A kept block.
fn take(layout: Layout) -> Option<*mut u8> {
    let index = shelf(layout)?;
    THREAD
        .try_with(|thread| {
            // SAFETY: the shelves are this thread's alone, and nothing in here allocates, so no one else looks at them meanwhile.
            let shelf = unsafe { (*thread.shelves.get()).get_mut(index)? };
            let block = shelf.first;
            if block.is_null() {
                return None;
            }
            // SAFETY: `keep` put it there, with the next one's address in its first bytes, and no one else has it.
            shelf.first = unsafe { block.cast::<*mut u8>().read() };
            shelf.blocks -= 1;
            Some(block)
        })
        .ok()
        .flatten()
}

/// Whether the block is kept now.
///
/// # Safety
/// `block` was allocated here with this layout, and its owner has given it up.
unsafe fn keep(block: *mut u8, layout: Layout) -> bool {
    let Some(index) = shelf(layout) else { return false };
    let kept = THREAD.try_with(|thread| {
        if !thread.keeps.get() {
            return false;
        }
        // SAFETY: as in `take`.
        let shelves = unsafe { &mut *thread.shelves.get() };
        let Some(shelf) = shelves.get_mut(index).filter(|shelf| shelf.blocks < MOST[index]) else { return false };
        // SAFETY: the block is ours by the caller's promise, has room for a pointer since its size was rounded, and is aligned
        // to GRAIN as all that the system gives.
        unsafe { block.cast::<*mut u8>().write(shelf.first) };
        shelf.first = block;
        shelf.blocks += 1;
        true
    });
    kept.unwrap_or(false)
}

// SAFETY: a block comes from the system's allocator, with a layout that is no smaller than the caller's, or from those that such a caller
// gave back, whose layouts were rounded to the same; it goes back to the system with the rounded layout it was made with. Counting and
// keeping neither allocate nor unwind.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let made = match take(layout) {
            Some(block) => block,
            // SAFETY: the caller's promises are passed on.
            None => unsafe { System.alloc(rounded(layout)) },
        };
        if !made.is_null() {
            count(layout.size() as isize);
        }
        made
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller gives up the block, which was made with this layout.
        if !unsafe { keep(at, layout) } {
            // SAFETY: the caller's promises are passed on; it was made with the rounded layout.
            unsafe { System.dealloc(at, rounded(layout)) };
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are passed on.
        let made = unsafe { System.alloc_zeroed(rounded(layout)) };
        if !made.is_null() {
            count(layout.size() as isize);
        }
        made
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller promises that the new size, rounded up to the alignment, is one.
        let wanted = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        let (old, new) = (rounded(layout), rounded(wanted));
        if old.size() == new.size() {
            count(new_size as isize - layout.size() as isize);
            return at;
        }
        let made = match take(wanted) {
            Some(block) => {
                // SAFETY: two different blocks, both at least this long; the old one is given up then, as its owner wishes.
                unsafe { ptr::copy_nonoverlapping(at, block, layout.size().min(new_size)) };
                // SAFETY: as above.
                if !unsafe { keep(at, layout) } {
                    // SAFETY: it was made with the rounded layout.
                    unsafe { System.dealloc(at, old) };
                }
                block
            }
            // SAFETY: it was made with the old rounded layout; the new size is not zero, and what rounding adds is little.
            None => unsafe { System.realloc(at, old, new.size()) },
        };
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

    #[test]
    fn kept_blocks_hold_what_they_are_given() {
        let check = || {
            let before = net_bytes_of_thread();
            let mut all: Vec<Vec<u8>> = Vec::new();
            for round in 0..3_u8 {
                for size in (1..1200).chain((1..1200).rev()) {
                    let mut one = vec![round; size];
                    one.reserve_exact(size % 40);
                    one.extend(std::iter::repeat_n(round, size % 40));
                    assert_eq!(one.as_ptr().align_offset(GRAIN), 0);
                    all.push(one);
                }
                for one in all.drain(..).step_by(2) {
                    assert!(one.iter().all(|byte| *byte == round));
                }
            }
            drop(all);
            assert_eq!(net_bytes_of_thread() - before, 0);
        };
        std::thread::scope(|scope| {
            scope.spawn(check);
            scope.spawn(|| {
                keep_blocks_of_thread();
                check();
                // SAFETY: nothing else looks at the shelves meanwhile.
                let kept = THREAD.with(|thread| unsafe { *thread.shelves.get() });
                let is_bounded = |(index, shelf): (usize, &Shelf)| shelf.blocks <= MOST[index];
                assert!(kept.iter().enumerate().all(is_bounded) && kept[1].blocks > 0);
            });
        });
    }
}
