//! Gives back the pages of the program that only starting or reloading needed.
//!
//! Reading a configuration and compiling scripts touches some 13 MB of the program that no request comes to, not least since the
//! system maps sixteen pages around each one that is touched. What is still needed is mapped again when it is next touched, from the
//! system's cache of the file. Purposefully nothing of the heap: its free memory is what the next request is served from.

use std::ops::Range;

/// Gives back what is mapped of files, read-only, and has no page of our own.
pub fn give_back() {
    #[cfg(target_os = "linux")]
    {
        let Ok(text) = std::fs::read_to_string("/proc/self/smaps") else { return };
        for range in untouched(&text) {
            let at = std::ptr::with_exposed_provenance_mut(range.start);
            // SAFETY: a page of this range is as it is in its file: nobody can have written to it, and none is a copy, so that
            // the next access, perhaps another thread's right now, finds the same bytes.
            let given = unsafe { rustix::mm::madvise(at, range.len(), rustix::mm::Advice::LinuxDontNeed) };
            if let Err(error) = given {
                tracing::debug!(%error, "pages of the program could not be given back");
            }
        }
    }
}

/// The mappings of smaps (proc(5)) that can't be written to, and of which nothing differs from the file.
fn untouched(smaps: &str) -> impl Iterator<Item = Range<usize>> {
    let mut last = None;
    smaps.lines().filter_map(move |line| {
        if let Some(mapping) = mapping(line) {
            last = mapping;
            return None;
        }
        // SECURITY: a copied page, such as one with relocations, would lose what was written to it.
        line.strip_prefix("Anonymous:").filter(|size| size.trim() == "0 kB").and_then(|_| last.take())
    })
}

/// Whether the line begins a mapping, and where it is if it is one of a file that can't be written to.
fn mapping(line: &str) -> Option<Option<Range<usize>>> {
    let mut words = line.split_ascii_whitespace();
    let (begin, end) = words.next()?.split_once('-')?;
    let address = |text| usize::from_str_radix(text, 16).ok();
    let range = address(begin)?..address(end)?;
    let is_read_only = words.next()?.as_bytes().get(1) == Some(&b'-');
    // Behind the offset, the device and the inode.
    let is_file = words.nth(3).is_some_and(|name| name.starts_with('/'));
    Some((is_read_only && is_file).then_some(range))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_clean_pages_of_files_are_given_back() {
        let one = |head: &str, anonymous: &str| format!("{head}\nRss:  8 kB\nAnonymous: {anonymous}\nVmFlags: rd ex\n");
        let smaps = [
            one("1000-2000 r-xp 00001000 fe:00 7        /bin/gateway", "       0 kB"),
            one("2000-3000 r--p 00002000 fe:00 7        /bin/gateway", "       4 kB"),
            one("3000-4000 rw-p 00003000 fe:00 7        /bin/gateway", "       0 kB"),
            one("4000-5000 r-xp 00000000 00:00 0 ", "       0 kB"),
            one("5000-6000 r-xp 00000000 00:00 0        [vdso]", "       0 kB"),
            one("6000-9000 r--p 00000000 fe:00 8        /lib/a library.so (deleted)", "       0 kB"),
        ];
        assert_eq!(untouched(&smaps.concat()).collect::<Vec<_>>(), [0x1000..0x2000, 0x6000..0x9000]);
    }

    #[test]
    fn the_program_goes_on_and_is_smaller() {
        let mapped = || -> usize {
            let status = std::fs::read_to_string("/proc/self/status").expect("a status");
            let line = status.lines().find_map(|line| line.strip_prefix("RssFile:")).expect("a line");
            line.trim().trim_end_matches(" kB").parse().expect("a number")
        };
        let before = mapped();
        give_back();
        assert!(mapped() < before, "{before} KiB before, {} KiB then", mapped());
    }
}
