//! What the system says of this process: `/proc/self` of Linux (`proc(5)`); elsewhere nothing.

/// What is known.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Process {
    /// Bytes of memory that are resident.
    pub(super) resident: Option<u64>,
    pub(super) open_files: Option<u64>,
    pub(super) max_files: Option<u64>,
}

#[cfg(target_os = "linux")]
pub(super) fn read() -> Process {
    let text = |name: &str| std::fs::read_to_string(format!("/proc/self/{name}"));
    let open = std::fs::read_dir("/proc/self/fd").map(Iterator::count);
    Process {
        resident: text("status").ok().as_deref().and_then(resident),
        // One of them is the folder itself, while it is counted.
        open_files: open.ok().map(|open| open.saturating_sub(1) as u64),
        max_files: text("limits").ok().as_deref().and_then(max_files),
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn read() -> Process {
    Process::default()
}

/// `VmRSS:     5588 kB`
#[cfg(any(target_os = "linux", test))]
fn resident(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    kilobytes.checked_mul(1024)
}

/// `Max open files            1024                 524288               files`: the soft limit.
#[cfg(any(target_os = "linux", test))]
fn max_files(limits: &str) -> Option<u64> {
    let mut lines = limits.lines();
    let line = lines.find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_kernel_are_read() {
        assert_eq!(
            resident("VmPeak:\t 9 kB\nVmRSS:\t    5588 kB\n"),
            Some(5588 << 10)
        );
        assert_eq!(resident("VmRSS: many\n"), None);
        let limits = "Limit     Soft Limit  Hard Limit  Units\nMax open files            1024                 524288               files\n";
        assert_eq!(max_files(limits), Some(1024));
        assert_eq!(
            max_files("Max open files   unlimited unlimited files"),
            None
        );
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_has_memory_and_files() {
        let process = read();
        assert!(
            process.resident.is_some_and(|bytes| bytes > 1 << 20),
            "{process:?}"
        );
        assert!(
            process.open_files.is_some_and(|open| open >= 3),
            "{process:?}"
        );
    }
}
