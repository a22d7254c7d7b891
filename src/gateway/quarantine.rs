//! The breaker of scripts: an entry of a route's plugins whose hooks keep failing is left out there for a while.
//!
//! Failures are counted for each hook, and the hook that fails is the one that is tried again; what is left out is the entry: while
//! a hook that decides about exchanges is held, no new exchange begins with any other. `on_error` and `on_log` decide nothing, so
//! they hold only themselves. Background work is put off by the same rules, see [`Quarantines::background_ended`].
//!
//! Its state is of the generation, so that a script that was mended begins clean, and all workers share it. As long as nothing fails, a
//! hook costs one load; counting begins with a failure, behind a lock that good hooks never see. The shape is that of a circuit
//! breaker (closed, open, half-open with one probe); the holds grow like a back-off.

use crate::{
    config::Quarantine as Rules,
    script::{Hook, ScriptError, error::Fault, error::Limit},
};
use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

const GOOD: u64 = 0;
/// Something failed in the window: runs are counted.
const WATCHED: u64 = 1;
/// From here on: held until so many milliseconds after the beginning, plus this.
const HELD: u64 = 2;
const HOOKS: usize = Hook::ALL.len();

/// Of all places on all routes.
pub struct Quarantines {
    rules: Option<Rules>,
    /// What times are counted from.
    begun: Instant,
    /// For each chain, the last one that of no route, the places in its order.
    chains: Vec<Box<[Quarantine]>>,
    /// Of each place's background work.
    background: Box<[Background]>,
}

/// Milliseconds from the beginning until which a place's background work is put off; zero: it never was.
#[derive(Default)]
struct Background(AtomicU64);

/// Of a place on a route.
#[derive(Default)]
struct Quarantine {
    place: usize,
    states: [AtomicU64; HOOKS],
    /// Until when no exchange begins with this entry, in milliseconds from the beginning; zero: it is open.
    gate: AtomicU64,
    /// Made by the first failure.
    watches: Mutex<Option<Box<[Watch; HOOKS]>>>,
}

#[derive(Clone, Copy, Default)]
struct Watch {
    /// Milliseconds, of the window that runs now.
    since: u64,
    runs: u32,
    failures: u32,
    limit_hits: u32,
    /// How long the last hold was; zero while there is none.
    hold: Duration,
    /// Whether a request tries the script right now.
    probing: bool,
    /// Ever failed: worth showing.
    seen: bool,
}

/// A hook that may run, and must say how it ended.
pub struct Pass<'a> {
    of: Option<(&'a Quarantines, &'a Quarantine)>,
    hook: Hook,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Good,
    Watched,
    Probe,
}

/// What a hook's end did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    Nothing,
    /// It begins.
    Held(Duration),
    /// A probe failed.
    HeldAgain(Duration),
    /// A probe succeeded.
    Released,
}

/// How a hook of a place stands, for those that have failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Of the router; none for requests that match no route.
    pub route: Option<usize>,
    pub place: usize,
    pub hook: Hook,
    /// How long it is still held; none when it runs. Zero: the next request tries it.
    pub held_for: Option<Duration>,
}

impl Quarantines {
    /// `places`: how many there are.
    pub fn new<'c>(rules: Option<Rules>, chains: impl Iterator<Item = &'c Vec<usize>>, places: usize) -> Quarantines {
        let of_place = |place: &usize| Quarantine { place: *place, ..Quarantine::default() };
        let chains = chains.map(|places| places.iter().map(of_place).collect()).collect();
        let background = (0..places).map(|_| Background::default()).collect();
        Quarantines { rules, begun: Instant::now(), chains, background }
    }

    /// Asks for a run of a hook at a place, on a route or on none. `skips`: a hook that is held is passed over, so that an exchange
    /// may come to later hooks of an entry whose earlier ones did not run.
    ///
    /// # Errors
    /// How long it is held.
    pub fn enter(&self, route: Option<usize>, place: usize, hook: Hook, skips: bool) -> Result<Pass<'_>, Duration> {
        let mut pass = Pass { of: None, hook, kind: Kind::Good };
        if self.rules.is_none() {
            return Ok(pass);
        }
        let chain = route.map_or(self.chains.last(), |route| self.chains.get(route));
        let own = chain.and_then(|chain| chain.iter().find(|quarantine| quarantine.place == place));
        let Some((own, state)) = own.and_then(|own| Some((own, own.states.get(hook as usize)?))) else {
            return Ok(pass);
        };
        pass.of = Some((self, own));
        match state.load(Relaxed) {
            state @ (GOOD | WATCHED) => {
                let gate = own.gate.load(Relaxed);
                // An exchange that this entry has let in is let out by it.
                if gate != 0 && (begins(hook) || (skips && decides(hook))) {
                    self.try_gate(own, gate)?;
                }
                if state == WATCHED {
                    pass.kind = Kind::Watched;
                }
            }
            held => {
                let left = (held - HELD).saturating_sub(self.now());
                if left > 0 {
                    return Err(Duration::from_millis(left));
                }
                let mut watches = own.lock();
                let Some(watch) = watches.as_mut().map(|watches| &mut watches[hook as usize]) else { return Ok(pass) };
                if watch.probing {
                    return Err(Duration::ZERO);
                }
                watch.probing = true;
                pass.kind = Kind::Probe;
            }
        }
        Ok(pass)
    }

    /// Another hook of the entry is held. When its time is over one exchange goes as far as that hook and tries it; if it never gets
    /// there, another one may after a while.
    #[cold]
    fn try_gate(&self, own: &Quarantine, gate: u64) -> Result<(), Duration> {
        let now = self.now();
        let again = self.rules.as_ref().map_or(0, |rules| rules.hold_for.as_millis() as u64);
        match gate.saturating_sub(now) {
            0 => match own.gate.compare_exchange(gate, now + again, Relaxed, Relaxed) {
                Ok(_) => Ok(()),
                Err(_) => Err(Duration::ZERO),
            },
            left => Err(Duration::from_millis(left)),
        }
    }

    /// Background work of a place has failed so many times in a row, `limits` of them at a limit: how long it is put off, if it is.
    pub fn background_ended(&self, place: usize, failures: u32, limits: u32) -> Option<Duration> {
        let rules = self.rules.as_ref()?;
        let above = failures.checked_sub(rules.min_runs.max(1));
        let above = above.max(limits.checked_sub(rules.limit_hits.max(1)))?;
        let hold = rules.hold_for.saturating_mul(1 << above.min(16)).min(rules.max_hold_for.max(rules.hold_for));
        let until = self.now() + hold.as_millis() as u64;
        self.background.get(place)?.0.fetch_max(until.max(1), Relaxed);
        Some(hold)
    }

    fn now(&self) -> u64 {
        self.begun.elapsed().as_millis() as u64
    }

    /// All hooks that have failed, by route and place.
    pub fn standings(&self) -> Vec<Standing> {
        let now = self.now();
        let last = self.chains.len().saturating_sub(1);
        let mut standings = Vec::new();
        for (route, chain) in self.chains.iter().enumerate() {
            for own in chain {
                let watches = *own.lock().as_deref().unwrap_or(&[Watch::default(); HOOKS]);
                for (hook, _) in Hook::ALL.into_iter().zip(watches).filter(|(_, watch)| watch.seen) {
                    let state = own.states[hook as usize].load(Relaxed);
                    let held = state.checked_sub(HELD).map(|until| Duration::from_millis(until.saturating_sub(now)));
                    let route = (route < last).then_some(route);
                    standings.push(Standing { route, place: own.place, hook, held_for: held });
                }
            }
        }
        for (place, Background(until)) in self.background.iter().enumerate() {
            let until = until.load(Relaxed);
            let held_for = until.checked_sub(now).filter(|left| *left > 0).map(Duration::from_millis);
            if until > 0 {
                standings.push(Standing { route: None, place, hook: Hook::Every, held_for });
            }
        }
        standings
    }
}

/// Whether exchanges begin with it.
fn begins(hook: Hook) -> bool {
    matches!(hook, Hook::OnRequest | Hook::Handle)
}

/// Whether what becomes of an exchange hangs on it.
fn decides(hook: Hook) -> bool {
    begins(hook) || matches!(hook, Hook::OnResponse | Hook::OnRequestChunk | Hook::OnResponseChunk)
}

impl Quarantine {
    /// A hook is held.
    fn close(&self, hook: Hook, until: u64) {
        self.states[hook as usize].store(HELD + until, Relaxed);
        if decides(hook) {
            self.gate.fetch_max(until.max(1), Relaxed);
        }
    }

    /// A hook is not held any more; others may be.
    fn open(&self, hook: Hook) {
        self.states[hook as usize].store(GOOD, Relaxed);
        let held = |hook: &Hook| self.states[*hook as usize].load(Relaxed).checked_sub(HELD);
        let until = Hook::ALL.iter().filter(|hook| decides(**hook)).filter_map(held).max();
        self.gate.store(until.map_or(0, |until| until.max(1)), Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Option<Box<[Watch; HOOKS]>>> {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass<'_> {
    /// The hook ended. `is_blameless`: a failure that says nothing about the script.
    pub fn ended<T>(mut self, ended: &Result<T, ScriptError>, is_blameless: bool) -> Turn {
        let kind = std::mem::replace(&mut self.kind, Kind::Good);
        let Some((all, own)) = self.of else { return Turn::Nothing };
        match ended {
            Ok(_) if kind == Kind::Good => Turn::Nothing,
            Ok(_) => succeeded(all, own, self.hook, kind),
            Err(_) if is_blameless => {
                if kind == Kind::Probe {
                    self.kind = Kind::Probe;
                }
                Turn::Nothing
            }
            // The deadline is mostly somebody else's doing.
            Err(error) => {
                let is_limit = matches!(error.fault, Fault::Limit(limit) if limit != Limit::Wall);
                failed(all, own, self.hook, kind, is_limit)
            }
        }
    }
}

impl Drop for Pass<'_> {
    /// A probe that did not end, or ended for no fault of its own, leaves the place to the next request.
    fn drop(&mut self) {
        if let (Some((_, own)), Kind::Probe) = (self.of, self.kind)
            && let Some(watches) = own.lock().as_mut()
        {
            watches[self.hook as usize].probing = false;
        }
    }
}

#[cold]
fn succeeded(all: &Quarantines, own: &Quarantine, hook: Hook, kind: Kind) -> Turn {
    let mut watches = own.lock();
    let (Some(rules), Some(watches)) = (&all.rules, watches.as_mut()) else { return Turn::Nothing };
    let watch = &mut watches[hook as usize];
    let state = &own.states[hook as usize];
    if kind == Kind::Probe {
        *watch = Watch { seen: true, ..Watch::default() };
        own.open(hook);
        return Turn::Released;
    }
    watch.runs += 1;
    if all.now().saturating_sub(watch.since) > rules.window.as_millis() as u64 && state.load(Relaxed) == WATCHED {
        state.store(GOOD, Relaxed);
    }
    Turn::Nothing
}

#[cold]
fn failed(all: &Quarantines, own: &Quarantine, hook: Hook, kind: Kind, is_limit: bool) -> Turn {
    let Some(rules) = &all.rules else { return Turn::Nothing };
    let now = all.now();
    let mut watches = own.lock();
    let watch = &mut watches.get_or_insert_default()[hook as usize];
    let state = &own.states[hook as usize];
    watch.seen = true;
    if kind == Kind::Probe {
        watch.probing = false;
        watch.hold = (watch.hold * 2).min(rules.max_hold_for);
        own.close(hook, now + watch.hold.as_millis() as u64);
        return Turn::HeldAgain(watch.hold);
    }
    if state.load(Relaxed) >= HELD {
        // It began before the hold did.
        return Turn::Nothing;
    }
    let is_over = now.saturating_sub(watch.since) > rules.window.as_millis() as u64;
    if state.load(Relaxed) == GOOD || is_over {
        *watch = Watch { since: now, seen: true, ..Watch::default() };
        state.store(WATCHED, Relaxed);
    }
    watch.runs += 1;
    watch.failures += 1;
    watch.limit_hits += u32::from(is_limit);
    let rate = u64::from(watch.failures) * 100 >= u64::from(watch.runs) * u64::from(rules.failure_rate);
    if watch.limit_hits >= rules.limit_hits || (watch.runs >= rules.min_runs && rate) {
        watch.hold = rules.hold_for;
        own.close(hook, now + watch.hold.as_millis() as u64);
        return Turn::Held(watch.hold);
    }
    Turn::Nothing
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn error(fault: Fault) -> Result<(), ScriptError> {
        Err(ScriptError {
            fault,
            message: "no".into(),
            file: PathBuf::from("a.lua"),
            line: 1,
            column: 1,
            source_line: String::new(),
            hook: None,
            stack: Vec::new(),
            help: None,
            also: Vec::new(),
        })
    }

    fn quarantines(rules: Rules) -> Quarantines {
        Quarantines::new(Some(rules), [&vec![7], &vec![]].into_iter(), 8)
    }

    fn run(all: &Quarantines, ended: &Result<(), ScriptError>) -> Option<Turn> {
        all.enter(Some(0), 7, Hook::OnRequest, false).ok().map(|pass| pass.ended(ended, false))
    }

    #[test]
    fn a_rate_of_failures_holds_and_a_good_probe_releases() {
        let rules = Rules { hold_for: Duration::from_millis(30), ..Rules::default() };
        let all = quarantines(rules);
        let fails = error(Fault::Runtime);
        assert_eq!(run(&all, &fails), Some(Turn::Nothing));
        for ended in [Ok(()), Ok(()), Ok(()), error(Fault::Runtime)] {
            assert_eq!(run(&all, &ended), Some(Turn::Nothing));
        }
        assert_eq!(run(&all, &fails), Some(Turn::Held(Duration::from_millis(30))));
        assert_eq!(run(&all, &fails), None);
        assert!(all.enter(Some(0), 7, Hook::OnResponse, false).is_ok(), "another hook runs");
        assert!(all.enter(None, 7, Hook::OnRequest, false).is_ok(), "and on another route it runs");
        assert_eq!(all.standings().len(), 1);
        while all.standings()[0].held_for != Some(Duration::ZERO) {
            std::thread::yield_now();
        }
        let probe = all.enter(Some(0), 7, Hook::OnRequest, false).expect("a probe");
        assert_eq!(all.enter(Some(0), 7, Hook::OnRequest, false).err(), Some(Duration::ZERO));
        drop(probe);
        assert_eq!(run(&all, &fails), Some(Turn::HeldAgain(Duration::from_millis(60))));
        while all.standings()[0].held_for != Some(Duration::ZERO) {
            std::thread::yield_now();
        }
        assert_eq!(run(&all, &Ok(())), Some(Turn::Released));
        assert_eq!(run(&all, &Ok(())), Some(Turn::Nothing));
        assert_eq!(all.standings()[0].held_for, None);
    }

    /// How an exchange of an entry fares that begins with `on_request`, and then its `on_response`.
    fn exchange(all: &Quarantines, skips: bool, ended: &Result<(), ScriptError>) -> [Option<Turn>; 2] {
        let run = |hook, ended| all.enter(Some(0), 7, hook, skips).ok().map(|pass| pass.ended(ended, false));
        [run(Hook::OnRequest, &Ok(())), run(Hook::OnResponse, ended)]
    }

    #[test]
    fn the_entry_is_held_for_any_hook_that_decides_and_one_exchange_tries_it() {
        for skips in [false, true] {
            let rules = Rules { hold_for: Duration::from_millis(40), ..Rules::default() };
            let all = quarantines(rules);
            let fails = error(Fault::Runtime);
            for _ in 0..4 {
                assert_eq!(exchange(&all, skips, &fails), [Some(Turn::Nothing); 2]);
            }
            let held = Some(Turn::Held(Duration::from_millis(40)));
            assert_eq!(exchange(&all, skips, &fails), [Some(Turn::Nothing), held]);
            assert_eq!(exchange(&all, skips, &fails), [None, None], "no exchange begins");
            let chunk = all.enter(Some(0), 7, Hook::OnRequestChunk, skips).is_ok();
            assert_eq!(chunk, !skips, "one that has begun goes on");
            assert!(all.enter(Some(0), 7, Hook::OnLog, skips).is_ok());
            while all.standings()[0].held_for != Some(Duration::ZERO) {
                std::thread::yield_now();
            }
            let trying = all.enter(Some(0), 7, Hook::OnRequest, skips);
            assert!(trying.is_ok(), "one exchange goes as far as the hook that is held");
            assert!(all.enter(Some(0), 7, Hook::OnRequest, skips).is_err(), "and no other");
            let probe = all.enter(Some(0), 7, Hook::OnResponse, skips).expect("the probe");
            assert_eq!(probe.ended(&Ok::<(), ScriptError>(()), false), Turn::Released);
            assert_eq!(exchange(&all, skips, &Ok(())), [Some(Turn::Nothing); 2]);
        }
    }

    #[test]
    fn background_work_that_keeps_failing_is_put_off_for_longer_and_longer() {
        let all = quarantines(Rules::default());
        let put_off = |failures, limits| all.background_ended(3, failures, limits).map(|hold| hold.as_secs());
        assert_eq!((put_off(1, 0), put_off(4, 2)), (None, None));
        assert_eq!(all.standings(), []);
        assert_eq!((put_off(5, 0), put_off(6, 0), put_off(7, 0)), (Some(5), Some(10), Some(20)));
        assert_eq!((put_off(3, 3), put_off(4, 4), put_off(1000, 0)), (Some(5), Some(10), Some(60)));
        let standings = all.standings();
        assert_eq!((standings.len(), standings[0].hook, standings[0].place), (1, Hook::Every, 3));
        assert!(standings[0].held_for.is_some_and(|left| left > Duration::from_secs(50)));
    }

    #[test]
    fn limits_hold_sooner_and_deadlines_do_not() {
        let all = quarantines(Rules::default());
        for _ in 0..3 {
            assert_eq!(run(&all, &error(Fault::Limit(Limit::Wall))), Some(Turn::Nothing));
        }
        let all = quarantines(Rules::default());
        let hits = error(Fault::Limit(Limit::Cpu));
        assert_eq!(run(&all, &hits), Some(Turn::Nothing));
        assert_eq!(run(&all, &hits), Some(Turn::Nothing));
        assert_eq!(run(&all, &hits), Some(Turn::Held(Duration::from_secs(5))));
    }

    #[test]
    fn a_few_failures_among_many_runs_are_let_be() {
        let all = quarantines(Rules::default());
        for number in 0..100 {
            let ended = if number % 3 == 0 { error(Fault::Runtime) } else { Ok(()) };
            assert_eq!(run(&all, &ended), Some(Turn::Nothing), "{number}");
        }
    }
}
