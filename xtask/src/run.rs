//! Running other programs, and ending them when we end.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::failure::{Context, Failure, Result};
use crate::paths;
use crate::steps::Output;

/// Process ids of the programs that run now. Each leads a process group of its own, so that
/// what it started ends with it.
static CHILDREN: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

/// Ctrl-C is the way in which the command is meant to end (a demo that serves).
static ENDING_IS_FINE: AtomicBool = AtomicBool::new(false);

/// An interrupt came: its handler ends this process, with the exit code that it chooses.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// How long a program may take to end by itself before it is ended by force.
const PATIENCE: Duration = Duration::from_secs(10);

/// From now on Ctrl-C and the termination signal end every program that was started, then us.
pub fn handle_interrupts() {
    let handler = || {
        INTERRUPTED.store(true, Ordering::SeqCst);
        let fine = ENDING_IS_FINE.load(Ordering::SeqCst);
        eprintln!(
            "\n{}",
            if fine {
                "Ending."
            } else {
                "Interrupted: ending what was started."
            }
        );
        end_children();
        std::process::exit(if fine { 0 } else { 130 });
    };
    if let Err(error) = ctrlc::set_handler(handler) {
        eprintln!("warning: Ctrl-C will not end started programs: {error}");
    }
}

/// Says that an interrupt is the normal end from here on.
pub fn ending_is_fine() {
    ENDING_IS_FINE.store(true, Ordering::SeqCst);
}

/// Waits for the end when an interrupt came: the programs that it ended look like failures to
/// whoever waits for them, and there is nothing to say about those.
pub fn leave_to_interrupt() {
    while INTERRUPTED.load(Ordering::SeqCst) {
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// Ends every program that is still running, politely at first.
pub fn end_children() {
    let children: Vec<u32> = locked().iter().copied().collect();
    for &id in &children {
        signal(id, "TERM");
    }
    let start = Instant::now();
    while children.iter().any(|&id| alive(id)) && start.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(50));
    }
    for &id in children.iter().filter(|&&id| alive(id)) {
        signal(id, "KILL");
    }
}

fn locked() -> std::sync::MutexGuard<'static, BTreeSet<u32>> {
    CHILDREN.lock().unwrap_or_else(|e| e.into_inner())
}

/// Sends a signal to the process group. Through the shell's own `kill`: the standard library
/// has no way to, and the program `kill` is not on every machine.
#[cfg(unix)]
fn signal(id: u32, name: &str) {
    let script = format!("kill -{name} -{id} 2>/dev/null");
    let _ = Command::new("sh").args(["-c", &script]).status();
}

#[cfg(not(unix))]
fn signal(id: u32, _name: &str) {
    let _ = Command::new("taskkill")
        .args(["/T", "/F", "/PID", &id.to_string()])
        .status();
}

/// Whether anything of the process group is left, zombies not counted.
#[cfg(unix)]
fn alive(id: u32) -> bool {
    locked().contains(&id)
        && Command::new("sh")
            .args(["-c", &format!("kill -0 -{id} 2>/dev/null")])
            .status()
            .is_ok_and(|status| status.success())
}

#[cfg(not(unix))]
fn alive(id: u32) -> bool {
    locked().contains(&id)
}

/// A program to run.
pub struct Run {
    command: Command,
    name: String,
    output: Output,
}

impl Run {
    /// A program from the PATH or by its path, run in the folder of the workspace without
    /// standard input.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        let program = program.as_ref();
        let name = Path::new(program)
            .file_stem()
            .unwrap_or(program)
            .to_string_lossy()
            .into_owned();
        let mut command = Command::new(program);
        command.current_dir(paths::root()).stdin(Stdio::null());
        // Cargo runs us with its own environment; its settings for this crate are not for others.
        for (key, _) in std::env::vars_os() {
            if key
                .to_str()
                .is_some_and(|k| k.starts_with("CARGO_PKG_") || k == "CARGO_MANIFEST_DIR")
            {
                command.env_remove(key);
            }
        }
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        Self {
            command,
            name,
            output: Output::Terminal,
        }
    }

    /// Adds arguments.
    pub fn args<I: IntoIterator<Item: AsRef<OsStr>>>(mut self, arguments: I) -> Self {
        self.command.args(arguments);
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(key, value);
        self
    }

    /// Sets the folder to run in.
    pub fn dir(mut self, folder: impl AsRef<Path>) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// Says where the output goes.
    pub fn to(mut self, output: &Output) -> Self {
        self.output = output.clone();
        self
    }

    /// The command line for people.
    fn line(&self) -> String {
        let words = self.command.get_args().map(|word| word.to_string_lossy());
        std::iter::once(self.name.as_str().into())
            .chain(words)
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// Runs it to the end.
    ///
    /// # Errors
    /// When it cannot be started, and when it does not exit with 0.
    pub fn run(mut self) -> Result<()> {
        let line = self.line();
        if let Output::File(path) = &self.output {
            let log = open_log(path, &line)?;
            let twin = log.try_clone().context(|| path.display().to_string())?;
            self.command.stdout(log).stderr(twin);
        }
        let child = start(&mut self.command, &self.name)?;
        succeeded(wait(child), &line)
    }

    /// Runs it to the end and gives its standard output; standard error goes where it goes.
    ///
    /// # Errors
    /// When it cannot be started, and when it does not exit with 0.
    pub fn read(mut self) -> Result<String> {
        let line = self.line();
        self.command.stdout(Stdio::piped());
        let mut child = start(&mut self.command, &self.name)?;
        let mut text = String::new();
        if let Some(mut pipe) = child.stdout.take() {
            pipe.read_to_string(&mut text).context(|| line.clone())?;
        }
        succeeded(wait(child), &line)?;
        Ok(text)
    }

    /// Runs it to the end, shows its standard output and standard error line by line as they
    /// come, gives the text of both and whether it exited with 0.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn watch(mut self) -> Result<(String, bool)> {
        let (reader, writer) = std::io::pipe().context(|| self.name.clone())?;
        self.command
            .stdout(writer.try_clone().context(|| self.name.clone())?)
            .stderr(writer);
        let child = start(&mut self.command, &self.name)?;
        // The command keeps the writing end open, and with it our reading would never end.
        drop(self.command);
        let mut text = String::new();
        let mut reader = BufReader::new(reader);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            let shown = String::from_utf8_lossy(&line);
            print!("{shown}");
            text.push_str(&shown);
            line.clear();
        }
        Ok((text, wait(child)?.success()))
    }

    /// Starts it and lets it run.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(mut self) -> Result<Running> {
        if let Output::File(path) = &self.output {
            let log = open_log(path, &self.line())?;
            let twin = log.try_clone().context(|| path.display().to_string())?;
            self.command.stdout(log).stderr(twin);
        }
        Ok(Running {
            child: Some(start(&mut self.command, &self.name)?),
        })
    }
}

/// A program that runs beside us and ends when this value goes.
pub struct Running {
    child: Option<Child>,
}

impl Running {
    /// Its exit status, when it has ended already.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.as_mut()?.try_wait().ok().flatten();
        if status.is_some()
            && let Some(child) = &self.child
        {
            locked().remove(&child.id());
        }
        status
    }

    /// Its process id.
    pub fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Sends it a signal by its name (`HUP`), and to what it started.
    pub fn signal(&self, name: &str) {
        if let Some(id) = self.id() {
            signal(id, name);
        }
    }

    /// Waits until it ends by itself.
    pub fn wait(mut self) -> Result<ExitStatus> {
        match self.child.take() {
            Some(child) => wait(child),
            None => Err(Failure::new("waited for twice")),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        signal(child.id(), "TERM");
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if matches!(child.try_wait(), Ok(Some(_)) | Err(_)) {
                locked().remove(&child.id());
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        signal(child.id(), "KILL");
        let _ = wait(child);
    }
}

fn start(command: &mut Command, name: &str) -> Result<Child> {
    let _ = std::io::stdout().flush();
    let child = command.spawn().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Failure::new(format!(
            "`{name}` was not found; is it installed and on the PATH?"
        )),
        _ => Failure::new(format!("`{name}` could not be started: {error}")),
    })?;
    locked().insert(child.id());
    Ok(child)
}

fn wait(mut child: Child) -> Result<ExitStatus> {
    let status = child.wait();
    locked().remove(&child.id());
    status.context(|| "waiting for a program".into())
}

fn succeeded(status: Result<ExitStatus>, line: &str) -> Result<()> {
    let status = status?;
    if status.success() {
        Ok(())
    } else {
        Err(Failure::new(format!("`{line}` failed ({status})")))
    }
}

fn open_log(path: &Path, line: &str) -> Result<File> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).context(|| folder.display().to_string())?;
    }
    let mut log = File::options()
        .create(true)
        .append(true)
        .open(path)
        .context(|| path.display().to_string())?;
    writeln!(log, "$ {line}").context(|| path.display().to_string())?;
    Ok(log)
}

/// The first program of these names on the PATH.
pub fn find_program(names: &[&str]) -> Option<std::path::PathBuf> {
    let folders: Vec<_> = std::env::split_paths(&std::env::var_os("PATH")?).collect();
    names.iter().find_map(|name| {
        folders
            .iter()
            .map(|folder| folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX)))
            .find(|path| path.is_file())
    })
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn output_is_read_and_a_failure_names_the_command_line() {
        assert_eq!(
            Run::new("sh").args(["-c", "echo hello"]).read().unwrap(),
            "hello\n"
        );
        let failure = Run::new("sh")
            .args(["-c", "exit 3"])
            .run()
            .unwrap_err()
            .to_string();
        assert!(
            failure.contains("sh -c exit 3") && failure.contains('3'),
            "{failure}"
        );
        let failure = Run::new("no-such-program-here")
            .run()
            .unwrap_err()
            .to_string();
        assert!(failure.contains("no-such-program-here"), "{failure}");
    }

    #[test]
    fn what_a_program_started_ends_with_it() {
        let folder = std::env::temp_dir().join(format!("xtask-run-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mark = folder.join("grandchild");
        let script = format!("sh -c 'echo $$ > {}; sleep 60' & wait", mark.display());
        let running = Run::new("sh").args(["-c", &script]).start().unwrap();
        let start = Instant::now();
        let id = loop {
            let text = std::fs::read_to_string(&mark).unwrap_or_default();
            if text.ends_with('\n') {
                break text.trim().to_string();
            }
            assert!(start.elapsed() < PATIENCE, "the grandchild never started");
            std::thread::sleep(Duration::from_millis(10));
        };
        drop(running);
        let gone = || {
            !Path::new(&format!("/proc/{id}/cmdline")).exists()
                || std::fs::read(format!("/proc/{id}/cmdline")).is_ok_and(|text| text.is_empty())
        };
        while !gone() {
            assert!(
                start.elapsed() < 2 * PATIENCE,
                "grandchild {id} is still there"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
