//! What Linux says about processes and the machine, from `/proc`.

use std::fs;

use crate::Result;

/// Linux counts a process's time in hundredths of a second on every architecture (USER_HZ).
const TICKS_PER_SECOND: f64 = 100.0;

/// CPU time of a process so far, in seconds, all its threads together.
pub(crate) fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in parentheses may hold spaces; user and system time are the 12th and 13th fields after it.
    let fields = stat.rsplit_once(')').ok_or("unreadable /proc/PID/stat")?.1;
    Ok(sum(fields.split_ascii_whitespace().skip(11).take(2))? / TICKS_PER_SECOND)
}

/// CPU time of everything that ran on this machine so far, in seconds, all cores together; what a hypervisor gave to
/// others counts as well.
pub(crate) fn busy_seconds() -> Result<f64> {
    let stat = fs::read_to_string("/proc/stat")?;
    let fields: Vec<&str> = stat.lines().next().unwrap_or_default().split_ascii_whitespace().skip(1).collect();
    // user nice system idle iowait irq softirq steal
    let busy = [0, 1, 2, 5, 6, 7].iter().filter_map(|&i| fields.get(i).copied());
    Ok(sum(busy)? / TICKS_PER_SECOND)
}

/// The most memory that a process has had resident, in MiB.
pub(crate) fn peak_rss_mib(pid: u32) -> Result<f64> {
    mib(pid, "VmHWM:")
}

/// The memory that a process has resident, in MiB.
pub(crate) fn rss_mib(pid: u32) -> Result<f64> {
    mib(pid, "VmRSS:")
}

fn mib(pid: u32, name: &str) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|l| l.strip_prefix(name)).ok_or("an unreadable /proc/PID/status")?;
    Ok(sum(line.split_ascii_whitespace().take(1))? / 1024.0)
}

/// Files that a process started from here may have open.
pub(crate) fn open_files() -> Result<f64> {
    let limits = fs::read_to_string("/proc/self/limits")?;
    let line =
        limits.lines().find_map(|l| l.strip_prefix("Max open files")).ok_or("an unreadable /proc/self/limits")?;
    sum(line.split_ascii_whitespace().take(1).filter(|word| *word != "unlimited")).map(|files| {
        // Nothing was counted where there is no limit.
        if files == 0.0 { f64::INFINITY } else { files }
    })
}

fn sum<'a>(fields: impl Iterator<Item = &'a str>) -> Result<f64> {
    let mut all = 0.0;
    for field in fields {
        all += field.parse::<f64>()?;
    }
    Ok(all)
}
