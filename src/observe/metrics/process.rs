//! `process_*`, under the names and meanings that all Prometheus clients give them; read from Linux' `/proc`.

use super::text::Text;
use std::fs;

/// Ticks of a second in `/proc/PID/stat`: USER_HZ, which is 100 on every architecture that Linux runs on today.
const TICKS: f64 = 100.0;

pub fn write(text: &mut Text, started: f64) {
    text.gauge("process_start_time_seconds", "When the process started, in seconds since 1970.");
    text.sample(&[], started);
    if let Some(seconds) = cpu_seconds() {
        text.counter("process_cpu_seconds", "Processor time used, by user and system.");
        text.sample(&[], seconds);
    }
    if let Some(bytes) = resident_bytes() {
        text.gauge("process_resident_memory_bytes", "Resident memory.");
        text.sample(&[], bytes);
    }
    if let Ok(files) = fs::read_dir("/proc/self/fd") {
        text.gauge("process_open_fds", "Open file descriptors.");
        // Reading the folder opens one.
        text.sample(&[], files.count().saturating_sub(1));
    }
}

fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the program's name in brackets and may hold spaces.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    Some((ticks()? + ticks()?) as f64 / TICKS)
}

fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes << 10)
}
