//! The page: every family with its samples, in a fixed order.

use super::{
    BackgroundMeter, ERRORS, FAILURES, HOOKS, HookMeter, MIRRORED, Meters, Metrics, Route, RouteMeter, ScriptMeter,
    ScriptStanding, ServiceMeter,
    cells::Counter,
    process,
    targets::{self, ServiceStanding},
    text::{Format, Text},
};
use std::sync::{Arc, PoisonError, atomic::Ordering};

impl Metrics {
    /// The page at `/metrics`; `standings` are those of this moment.
    pub fn text(&self, format: Format, standings: &[ServiceStanding<'_>], failing: &[ScriptStanding<'_>]) -> String {
        let mut text = Text::new(format);
        let meters = self.current();
        routes(&mut text, &meters);
        mirrors(&mut text, &meters);
        services(&mut text, &meters);
        targets::write(&mut text, standings);
        scripts(&mut text, &meters);
        quarantines(&mut text, failing);
        background(&mut text, &meters);
        self.own.write(&mut text);
        self.process(&mut text);
        process::write(&mut text, self.started);
        text.finish()
    }

    fn process(&self, text: &mut Text) {
        text.gauge("gatewright_connections", "Open connections of clients.");
        text.sample(&[], self.connections.get());
        text.counter("gatewright_connections_accepted", "Connections of clients that were accepted.");
        text.sample(&[], self.connections_accepted.get());
        text.counter("gatewright_connections_refused", "Connections of clients that were closed for a limit.");
        text.sample(&[], self.connections_refused.get());
        text.gauge("gatewright_build_info", "Always 1; what runs is in the label.");
        text.sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
        text.gauge("gatewright_generation", "The number of the generation that serves.");
        text.sample(&[], self.generation.get());
        text.counter("gatewright_reloads", "Reloads, by how they ended.");
        for (result, count) in ["failure", "success"].into_iter().zip(&self.reloads) {
            text.sample(&[("result", result)], count.get());
        }
        text.gauge("gatewright_last_reload_success", "1 when the last reload succeeded, or none was tried.");
        text.sample(&[], self.last_reload.get());
        text.gauge(
            "gatewright_last_reload_timestamp_seconds",
            "When it was, in seconds since 1970; at first when it started.",
        );
        text.sample(&[], self.last_reload_at.get());
        text.counter("gatewright_access_log_lost_lines", "Lines of the access log that could not be written.");
        text.sample(&[], self.lost_lines.load(Ordering::Relaxed));
        text.counter("gatewright_trace_spans", "Spans of traces, by what became of them.");
        let counts = [("exported", &self.spans.exported), ("lost", &self.spans.lost)];
        for (result, count) in counts {
            text.sample(&[("result", result)], count.load(Ordering::Relaxed));
        }
    }
}

fn routes(text: &mut Text, meters: &Meters) {
    text.counter("gatewright_requests", "Exchanges that ended, by route, service and status.");
    for Route { meter, .. } in &meters.routes {
        for (status, count) in meter.statuses.counted() {
            text.sample(&[("route", &meter.name), ("service", &meter.service), ("status", &status)], count);
        }
    }
    text.counter("gatewright_failures", "Exchanges that the gateway itself failed, by route, service and what failed.");
    for Route { meter, .. } in &meters.routes {
        for (kind, count) in FAILURES.iter().zip(&meter.failures).filter(|(_, count)| count.get() > 0) {
            text.sample(&[("route", &meter.name), ("service", &meter.service), ("kind", kind)], count.get());
        }
    }
    text.histogram("gatewright_request_duration_seconds", "From the request's head to the response's last byte.");
    for Route { meter, .. } in &meters.routes {
        text.distribution(&[("route", &meter.name), ("service", &meter.service)], &meter.duration);
    }
    let mut bytes = |name, help, of: fn(&RouteMeter) -> &Counter| {
        text.counter(name, help);
        for Route { meter, .. } in &meters.routes {
            text.sample(&[("route", &meter.name), ("service", &meter.service)], of(meter).get());
        }
    };
    bytes("gatewright_request_bytes", "Bytes of request bodies.", |meter| &meter.request_bytes);
    bytes("gatewright_response_bytes", "Bytes of response bodies.", |meter| &meter.response_bytes);
    text.gauge("gatewright_requests_in_flight", "Exchanges that have begun and not ended.");
    for Route { meter, .. } in &meters.routes {
        text.sample(&[("route", &meter.name), ("service", &meter.service)], meter.in_flight.get());
    }
}

fn mirrors(text: &mut Text, meters: &Meters) {
    let mirroring = || meters.routes.iter().filter(|route| route.meter.mirrors.any());
    text.counter("gatewright_mirrored_requests", "Copies of requests for another service, by what became of them.");
    for Route { meter, .. } in mirroring() {
        for (result, count) in MIRRORED.iter().zip(&meter.mirrors.results) {
            text.sample(&[("route", &meter.name), ("result", result)], count.get());
        }
    }
    text.gauge("gatewright_mirrored_requests_in_flight", "Copies that are under way.");
    for Route { meter, .. } in mirroring() {
        text.sample(&[("route", &meter.name)], meter.mirrors.in_flight.get());
    }
}

fn services(text: &mut Text, meters: &Meters) {
    text.histogram("gatewright_upstream_duration_seconds", "From a try's start to the head of the target's response.");
    for service in &meters.services {
        text.distribution(&[("service", &service.name)], &service.duration);
    }
    text.histogram("gatewright_target_duration_seconds", "The same by target.");
    for service in &meters.services {
        let targets = service.targets.lock().unwrap_or_else(PoisonError::into_inner);
        for (target, duration) in targets.iter().filter_map(|(target, known)| Some((target, known.upgrade()?))) {
            text.distribution(&[("service", &service.name), ("target", target)], &duration);
        }
    }
    text.counter("gatewright_upstream_tries", "Requests sent to targets, retries and calls by scripts included.");
    for service in &meters.services {
        text.sample(&[("service", &service.name)], service.tries.get());
    }
    text.counter("gatewright_upstream_retries", "Tries that repeat one before them.");
    for service in &meters.services {
        text.sample(&[("service", &service.name)], service.retries.get());
    }
    text.counter("gatewright_upstream_errors", "Tries that failed, by what failed.");
    for ServiceMeter { name, errors, .. } in meters.services.iter().map(|service| &**service) {
        for (kind, count) in ERRORS.iter().zip(errors).filter(|(_, count)| count.get() > 0) {
            text.sample(&[("service", name), ("kind", kind)], count.get());
        }
    }
}

fn background(text: &mut Text, meters: &Meters) {
    let ran = |own: &&Arc<BackgroundMeter>| own.runs.iter().any(|count| count.get() > 0);
    text.counter("gatewright_background_runs", "Runs of what scripts gave to `every`, by how they ended.");
    for own in meters.background.iter().filter(ran) {
        for (result, count) in ["ok", "error", "limit"].into_iter().zip(&own.runs) {
            text.sample(&[("plugin", &own.plugin), ("place", &own.place), ("result", result)], count.get());
        }
    }
    let mut each = |name, help, value: fn(&BackgroundMeter) -> f64| {
        text.counter(name, help);
        for own in meters.background.iter().filter(ran) {
            text.sample(&[("plugin", &own.plugin), ("place", &own.place)], value(own));
        }
    };
    each("gatewright_background_duration_seconds", "Time in them, waiting for others included.", |own| {
        own.nanoseconds.get() as f64 / 1e9
    });
    each("gatewright_background_cpu_seconds", "Processor time of them.", |own| own.cpu_nanoseconds.get() as f64 / 1e9);
    each("gatewright_background_skipped", "Runs that were left out, since the one before was not over.", |own| {
        own.skipped.get() as f64
    });
}

fn quarantines(text: &mut Text, failing: &[ScriptStanding<'_>]) {
    text.gauge("gatewright_script_quarantined", "1 while a hook is left out on a route, 0 when it failed and runs.");
    for ScriptStanding { plugin, hook, route, quarantined } in failing {
        text.sample(&[("plugin", plugin), ("hook", hook), ("route", route)], u8::from(*quarantined));
    }
}

fn scripts(text: &mut Text, meters: &Meters) {
    text.histogram("gatewright_plugin_duration_seconds", "Time in the hooks of a plugin, waiting for others included.");
    for (at, own) in meters.plugins.iter().enumerate() {
        let is_first = !meters.plugins[..at].iter().any(|before| Arc::ptr_eq(before, own));
        if is_first && own.duration.counts().iter().any(|count| *count > 0) {
            text.distribution(&[("plugin", &own.plugin)], &own.duration);
        }
    }
    let mut family = |name, help, value: &dyn Fn(&HookMeter) -> f64| {
        text.counter(name, help);
        for Route { meter, scripts } in &meters.routes {
            for (at, script) in scripts.iter().map(|(_, script)| script).enumerate() {
                // Two places that share their cells are shown once.
                if scripts[..at].iter().any(|(_, before)| std::ptr::eq(&**before, &**script)) {
                    continue;
                }
                let ScriptMeter { plugin, hooks } = &**script;
                for (hook, cells) in HOOKS.iter().zip(hooks).filter(|(_, cells)| cells.calls.get() > 0) {
                    let labels = [("plugin", &**plugin), ("hook", *hook), ("route", &meter.name)];
                    text.sample(&labels, value(cells));
                }
            }
        }
    };
    family("gatewright_script_calls", "Calls of hooks.", &|hook| hook.calls.get() as f64);
    family("gatewright_script_duration_seconds", "Time in hooks, waiting for others included.", &|hook| {
        hook.nanoseconds.get() as f64 / 1e9
    });
    family("gatewright_script_cpu_seconds", "Processor time of hooks.", &|hook| {
        hook.cpu_nanoseconds.get() as f64 / 1e9
    });
    family("gatewright_script_held", "Runs of hooks that were left out, in quarantine.", &|hook| {
        hook.held.get() as f64
    });
    family("gatewright_script_errors", "Hooks that failed.", &|hook| hook.errors.get() as f64);
    family("gatewright_script_limit_hits", "Hooks that were stopped at a limit.", &|hook| hook.limit_hits.get() as f64);
}
