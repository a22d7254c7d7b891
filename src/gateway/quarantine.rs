//! The breaker of scripts: a hook that keeps failing on a route is not run there for a while.
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
}

/// Of a place on a route.
#[derive(Default)]
struct Quarantine {
    place: usize,
    states: [AtomicU64; HOOKS],
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
    pub fn new<'c>(rules: Option<Rules>, chains: impl Iterator<Item = &'c Vec<usize>>) -> Quarantines {
        let of_place = |place: &usize| Quarantine { place: *place, ..Quarantine::default() };
        let chains = chains.map(|places| places.iter().map(of_place).collect()).collect();
        Quarantines { rules, begun: Instant::now(), chains }
    }

    /// Asks for a run of a hook at a place, on a route or on none.
    ///
    /// # Errors
    /// How long it is held.
    pub fn enter(&self, route: Option<usize>, place: usize, hook: Hook) -> Result<Pass<'_>, Duration> {
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
            GOOD => return Ok(pass),
            WATCHED => pass.kind = Kind::Watched,
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
        standings
    }
}

impl Quarantine {
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
        state.store(GOOD, Relaxed);
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
        state.store(HELD + now + watch.hold.as_millis() as u64, Relaxed);
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
        state.store(HELD + now + watch.hold.as_millis() as u64, Relaxed);
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
        })
    }

    fn quarantines(rules: Rules) -> Quarantines {
        Quarantines::new(Some(rules), [&vec![7], &vec![]].into_iter())
    }

    fn run(all: &Quarantines, ended: &Result<(), ScriptError>) -> Option<Turn> {
        all.enter(Some(0), 7, Hook::OnRequest).ok().map(|pass| pass.ended(ended, false))
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
        assert!(all.enter(Some(0), 7, Hook::OnResponse).is_ok(), "another hook runs");
        assert!(all.enter(None, 7, Hook::OnRequest).is_ok(), "and on another route it runs");
        assert_eq!(all.standings().len(), 1);
        while all.standings()[0].held_for != Some(Duration::ZERO) {
            std::thread::yield_now();
        }
        let probe = all.enter(Some(0), 7, Hook::OnRequest).expect("a probe");
        assert_eq!(all.enter(Some(0), 7, Hook::OnRequest).err(), Some(Duration::ZERO));
        drop(probe);
        assert_eq!(run(&all, &fails), Some(Turn::HeldAgain(Duration::from_millis(60))));
        while all.standings()[0].held_for != Some(Duration::ZERO) {
            std::thread::yield_now();
        }
        assert_eq!(run(&all, &Ok(())), Some(Turn::Released));
        assert_eq!(run(&all, &Ok(())), Some(Turn::Nothing));
        assert_eq!(all.standings()[0].held_for, None);
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
