//! `gatewright dev` on a copy of the quickstart, with free ports in place of its own.

use super::{
    command,
    gateway::{Files, Log, memory},
    repository,
};
use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
};

/// The commands in its environment that move its ports.
const PORTS: [&str; 3] = ["QUICKSTART_PORT", "QUICKSTART_DEMO_PORT", "QUICKSTART_ADMIN_PORT"];

pub struct Quickstart {
    process: Child,
    /// A copy of the repository's examples, plugins and stock scripts.
    pub files: Files,
    ports: [u16; 3],
    pub output: Log,
    pub errors: Log,
}

impl Quickstart {
    pub fn start() -> Quickstart {
        Quickstart::start_by(|_| command::binary())
    }

    /// The same by a command that is made in the folder of its files.
    pub fn start_by(command: impl Fn(&Path) -> Command) -> Quickstart {
        // A free port may be taken by another test before the gateway binds it.
        for _ in 0..10 {
            if let Some(started) = Quickstart::try_start(&command) {
                return started;
            }
        }
        panic!("the quickstart does not start");
    }

    fn try_start(command: impl Fn(&Path) -> Command) -> Option<Quickstart> {
        let files = copy();
        let ports = free_ports();
        let mut command = command(files.folder());
        command.current_dir(files.folder()).args(["dev", "examples/quickstart/gateway.yaml"]);
        command.envs(environment(ports)).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().expect("the gateway's binary");
        let (output, errors) = (Log::default(), Log::default());
        output.follow(process.stdout.take().expect("a pipe"));
        errors.follow(process.stderr.take().expect("a pipe"));
        let mut quickstart = Quickstart { process, files, ports, output, errors };
        quickstart.is_up().then_some(quickstart)
    }

    fn is_up(&mut self) -> bool {
        let (process, errors) = (&mut self.process, &self.errors);
        self.output.wait("the quickstart says nothing", |lines| {
            if lines.iter().any(|line| line.starts_with("Save a script")) {
                return Some(true);
            }
            let ended = process.try_wait().ok().flatten();
            let busy = errors.lines().iter().any(|line| line.contains("in use"));
            assert!(ended.is_none() || busy, "the quickstart ended: {:#?}", errors.lines());
            ended.map(|_| false)
        })
    }

    /// Kilobytes of memory, by a line of `/proc/PID/status`.
    pub fn memory(&self, line: &str) -> usize {
        memory(self.process.id(), line)
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.ports[0]))
    }

    pub fn admin(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.ports[2]))
    }

    /// The printed commands to try, each with its title.
    pub fn commands(&self) -> Vec<(String, String)> {
        let lines = self.output.lines();
        let titles = lines.iter().enumerate().filter_map(|(at, line)| Some((at, line.trim().strip_prefix("# ")?)));
        titles.map(|(at, title)| (title.to_owned(), lines[at + 1].trim().to_owned())).collect()
    }
}

impl Drop for Quickstart {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub fn environment(ports: [u16; 3]) -> Vec<(&'static str, String)> {
    PORTS.into_iter().zip(ports.map(|port| port.to_string())).collect()
}

/// Three ports that were free a moment ago.
pub fn free_ports() -> [u16; 3] {
    let listeners = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    listeners.map(|listener| listener.local_addr().expect("its address").port())
}

/// The files that commands of the README name, where a test may change them.
pub fn copy() -> Files {
    let files = Files::new();
    for folder in ["examples", "plugins", "scripts"] {
        copy_folder(&repository(folder), &files.path(folder));
    }
    files
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        let target = to.join(entry.file_name().expect("a name"));
        if entry.is_dir() {
            copy_folder(&entry, &target);
        } else {
            fs::copy(&entry, &target).expect("a copy");
        }
    }
}
