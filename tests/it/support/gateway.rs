//! The gateway: the real binary with its files in a folder of its own.
//!
//! `gateway(YAML)` takes a `gateway.yaml`; `.url("users", &upstream)` makes `${users}` in it that upstream's URL, `.file(…)`
//! puts a script beside it, `.start()` runs it and waits until it says where it listens. What it logs is kept.

use super::{Answer, Client, PATIENCE, Request, Upstream, command};
use serde_json::Value;
use std::{
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// What a test's configuration begins with, where it says nothing else.
const DEFAULTS: [(&str, &str); 3] = [("listen", "127.0.0.1:0"), ("admin", "off"), ("access_log", "off")];

/// Lines of the log that a failed test shows.
const SHOWN: usize = 30;

/// A gateway that has not been started.
pub struct Given {
    yaml: String,
    env: Vec<(String, String)>,
    files: Vec<(String, String)>,
    args: Vec<String>,
    parent: Option<(String, Stdio)>,
    dev: bool,
}

pub fn gateway(yaml: &str) -> Given {
    Given { yaml: yaml.into(), env: Vec::new(), files: Vec::new(), args: Vec::new(), parent: None, dev: false }
}

impl Given {
    pub fn url(self, name: &str, upstream: &Upstream) -> Given {
        self.env(name, upstream.url())
    }

    pub fn env(mut self, name: &str, value: impl Into<String>) -> Given {
        self.env.push((name.into(), value.into()));
        self
    }

    pub fn file(mut self, path: &str, text: &str) -> Given {
        self.files.push((path.into(), text.into()));
        self
    }

    pub fn arg(mut self, arg: &str) -> Given {
        self.args.push(arg.into());
        self
    }

    /// Starts it by these commands of a shell, which has `input` as its standard input and becomes the gateway.
    pub fn after(mut self, commands: &str, input: impl Into<Stdio>) -> Given {
        self.parent = Some((commands.into(), input.into()));
        self
    }

    /// `gatewright dev`, whose output is for people.
    pub fn dev(mut self) -> Given {
        self.dev = true;
        self
    }

    pub fn start(self) -> Gateway {
        let files = Files::new();
        for (path, text) in &self.files {
            files.write(path, text);
        }
        files.write("gateway.yaml", &with_defaults(&self.yaml));
        let config = files.path("gateway.yaml");
        let mut command = command::binary();
        let mut input = Stdio::null();
        if let Some((commands, stdin)) = self.parent {
            command = command::shell(&format!("{commands}\nexec \"$@\""));
            input = stdin;
        }
        command.args([if self.dev { "dev" } else { "run" }, "-c"]).arg(config).args(&self.args).envs(self.env);
        command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().expect("the gateway's binary");
        let log = Log::default();
        log.follow(process.stderr.take().expect("a pipe"));
        let output = Log::default();
        output.follow(process.stdout.take().expect("a pipe"));
        let mut gateway = Gateway { process, files, log, output, listening: Vec::new() };
        gateway.listening = if self.dev { gateway.wait_for_banner() } else { gateway.wait_for_listeners() };
        gateway
    }
}

/// The configuration with what every test wants unless it says otherwise.
pub fn with_defaults(yaml: &str) -> String {
    let given = |key: &str| yaml.lines().any(|line| line.starts_with(&format!("{key}:")));
    let lines = DEFAULTS.iter().filter(|(key, _)| !given(key)).map(|(key, value)| format!("{key}: {value}\n"));
    lines.chain([yaml.to_owned()]).collect()
}

/// The folder of a gateway.
pub struct Files {
    folder: TempDir,
}

impl Files {
    /// An empty one.
    pub fn new() -> Files {
        Files { folder: tempfile::tempdir().expect("a folder") }
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// Writes in place, folders on the way included.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap_or(&path)).expect("a folder");
        fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// Writes beside it and renames, as editors do.
    pub fn replace(&self, path: &str, text: &str) {
        let beside = format!("{path}.new~");
        self.write(&beside, text);
        fs::rename(self.path(&beside), self.path(path)).expect("a rename");
    }

    pub fn remove(&self, path: &str) {
        fs::remove_file(self.path(path)).expect("the file");
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// A running gateway; it ends with the value.
pub struct Gateway {
    process: Child,
    pub files: Files,
    pub log: Log,
    /// Standard output: the access log.
    pub output: Log,
    listening: Vec<(String, SocketAddr)>,
}

impl Gateway {
    fn wait_for_listeners(&mut self) -> Vec<(String, SocketAddr)> {
        let process = &mut self.process;
        self.log.wait("the gateway never said that it listens", |lines| {
            if let Ok(Some(status)) = process.try_wait() {
                panic!("the gateway ended with {status}:\n{}", lines.join("\n"));
            }
            let entries = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let mut listening = Vec::new();
            for entry in entries {
                match entry["message"].as_str() {
                    Some("listening") => {
                        let name = entry["name"].as_str().unwrap_or_default().to_owned();
                        listening.push((name, entry["address"].as_str()?.parse().ok()?));
                    }
                    Some("ready") => return Some(listening),
                    _ => {}
                }
            }
            None
        })
    }

    fn wait_for_banner(&self) -> Vec<(String, SocketAddr)> {
        self.output.contains("Save a script");
        let address = |line: &String| line.strip_prefix("listening on http://")?.split(' ').next()?.parse().ok();
        self.output.lines().iter().filter_map(address).map(|address| (String::new(), address)).collect()
    }

    pub fn address(&self) -> SocketAddr {
        self.listening.first().expect("a listener").1
    }

    /// Of the listener with that name; `admin` is that of the administration.
    pub fn address_of(&self, name: &str) -> SocketAddr {
        let found = self.listening.iter().find(|(n, _)| n == name);
        found.unwrap_or_else(|| panic!("no listener `{name}`: {:?}", self.listening)).1
    }

    pub fn connect(&self) -> Client {
        Client::connect(self.address())
    }

    pub fn send(&self, request: Request) -> Answer {
        self.connect().send(&request)
    }

    pub fn get(&self, target: &str) -> Answer {
        self.send(Request::get(target))
    }

    /// One request on a connection of its own, as these bytes.
    pub fn raw(&self, bytes: impl AsRef<[u8]>) -> Answer {
        let mut client = self.connect();
        client.write(bytes.as_ref());
        client.read_answer()
    }

    /// Waits for a line that contains `text`, and gives it.
    pub fn log_contains(&self, text: &str) -> String {
        self.log.contains(text)
    }

    /// Sends a signal, such as `HUP`.
    pub fn signal(&self, name: &str) {
        signal(self.process.id(), name);
    }

    /// Waits until the process has ended, and gives its exit code.
    pub fn ended(&mut self) -> Option<i32> {
        super::eventually("the gateway ended", || self.process.try_wait().expect("its status")).code()
    }

    /// Processor time that it has used so far.
    pub fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.id())).expect("its status");
        // proc(5): the name may hold spaces; utime and stime are the 12th and 13th field after it, in 1/100 s.
        let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ').skip(11).take(2);
        Duration::from_millis(fields.map(|ticks| ticks.parse::<u64>().expect("a number") * 10).sum())
    }

    /// Processor time that its first worker's thread has used so far, to the nanosecond: unlike the clock it counts nothing that
    /// other programs do. By `schedstat` (the kernel's sched-stats.rst): its first field is the time on a processor.
    pub fn worker_cpu(&self) -> Duration {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.process.id())).expect("its threads");
        let name = |task: &Path| fs::read_to_string(task.join("comm")).unwrap_or_default();
        let mut tasks = tasks.flatten().map(|entry| entry.path());
        let worker = tasks.find(|task| name(task).trim() == "worker-0").expect("a worker's thread");
        let stat = fs::read_to_string(worker.join("schedstat")).expect("its times");
        let nanoseconds = stat.split(' ').next().and_then(|field| field.parse().ok());
        Duration::from_nanos(nanoseconds.unwrap_or_else(|| panic!("no time in {stat}")))
    }

    /// Kilobytes of memory in use, by a line of `/proc/PID/status` such as `VmRSS` or `VmHWM`.
    pub fn memory(&self, line: &str) -> usize {
        memory(self.process.id(), line)
    }

    /// The number of its open file descriptors, of `limit` that it may have. One that the tests' own parent left open may be above.
    pub fn descriptors(&self, limit: usize) -> usize {
        let open = fs::read_dir(format!("/proc/{}/fd", self.process.id())).expect("its descriptors");
        let number = |entry: fs::DirEntry| entry.file_name().to_str()?.parse::<usize>().ok();
        open.flatten().filter_map(number).filter(|number| *number < limit).count()
    }

    /// From here on `VmHWM` is the most that is resident (proc(5), `clear_refs`): starting takes more than what follows. Gives what is
    /// resident now.
    pub fn watch_peak(&self) -> usize {
        fs::write(format!("/proc/{}/clear_refs", self.process.id()), "5").expect("a new peak");
        self.memory("VmRSS")
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if thread::panicking() {
            let lines = self.log.lines();
            eprintln!("the end of the gateway's log:\n{}", lines[lines.len().saturating_sub(SHOWN)..].join("\n"));
        }
    }
}

/// Kilobytes of memory of a process, by a line of `/proc/PID/status`.
pub fn memory(process: u32, line: &str) -> usize {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("its status");
    let found = status.lines().find_map(|l| l.strip_prefix(line)?.strip_prefix(':'));
    let number = found.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    number.unwrap_or_else(|| panic!("no {line} in {status}"))
}

/// The shell's own `kill`: the program of that name is not on every machine.
pub fn signal(process: u32, name: &str) {
    let status = std::process::Command::new("sh").args(["-c", &format!("kill -{name} {process}")]).status();
    assert!(status.expect("a shell").success(), "kill -{name} {process}");
}

/// Lines of a stream, kept as they come.
#[derive(Clone, Default)]
pub struct Log(Arc<(Mutex<Vec<String>>, Condvar)>);

impl Log {
    /// Reads until the stream ends.
    pub fn follow(&self, stream: impl std::io::Read + Send + 'static) {
        let log = self.clone();
        thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                log.0.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
                log.0.1.notify_all();
            }
            log.0.1.notify_all();
        });
    }

    pub fn lines(&self) -> Vec<String> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until `find` finds something in the lines so far.
    pub fn wait<T>(&self, otherwise: &str, mut find: impl FnMut(&[String]) -> Option<T>) -> T {
        let (lines, more) = &*self.0;
        let end = Instant::now() + PATIENCE;
        let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(found) = find(&lines) {
                return found;
            }
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{otherwise}:\n{}", lines.join("\n"));
            // Now and then without a new line: the process may have ended silently.
            let nap = left.min(Duration::from_millis(200));
            lines = more.wait_timeout(lines, nap).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits for a line that contains `text`, and gives it.
    pub fn contains(&self, text: &str) -> String {
        self.wait(&format!("no line contains `{text}`"), |lines| lines.iter().find(|line| line.contains(text)).cloned())
    }

    /// Waits until `count` lines contain `text`.
    pub fn counts(&self, text: &str, count: usize) {
        self.wait(&format!("`{text}` was not logged {count} times"), |lines| {
            (lines.iter().filter(|line| line.contains(text)).count() >= count).then_some(())
        });
    }
}
