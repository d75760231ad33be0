//! Metrics of the process, named as in Prometheus's own client libraries. Read from `/proc` at each scrape, and left
//! out on systems without `/proc`.

use std::fmt;
use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

/// Clock ticks per second in `/proc`, equal on all Linux targets of Rust.
const TICKS: f64 = 100.0;

/// Collects the values at each scrape.
#[derive(Debug)]
pub(super) struct ProcessMetrics;

impl Collector for ProcessMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(seen) = ProcessStats::read() else { return Ok(()) };
        let mut gauge = |name: &str, help: &str, unit: Option<Unit>, value: f64| {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, unit.as_ref(), gauge.metric_type())?)
        };
        let (seconds, bytes) = (Some(Unit::Seconds), Some(Unit::Bytes));
        gauge("process_start_time", "When the process was started, since the Unix epoch", seconds, seen.started)?;
        gauge("process_resident_memory", "Memory that the process has", bytes.clone(), seen.resident)?;
        gauge("process_virtual_memory", "Addresses that the process has taken", bytes, seen.virtual_size)?;
        gauge("process_open_fds", "Open files and connections", None, seen.open_files)?;
        gauge("process_max_fds", "Files and connections that may be open", None, seen.max_files)?;
        let cpu = ConstCounter::new(seen.cpu);
        let help = "Time that the process has worked, on all cores together";
        cpu.encode(encoder.encode_descriptor("process_cpu", help, Some(&Unit::Seconds), cpu.metric_type())?)
    }
}

struct ProcessStats {
    started: f64,
    cpu: f64,
    resident: f64,
    virtual_size: f64,
    open_files: f64,
    max_files: f64,
}

impl ProcessStats {
    /// Reads the values; see proc(5).
    fn read() -> Option<Self> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        // The process name, in brackets, may contain spaces and brackets; the third field comes after the last
        // bracket.
        let fields: Vec<f64> =
            stat.rsplit_once(')')?.1.split_whitespace().skip(1).map(|field| field.parse().unwrap_or(0.0)).collect();
        let field = |number: usize| fields.get(number - 4).copied();
        let boot = line("/proc/stat", "btime ")?;
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let kib = |name: &str| Some(first(status.lines().find_map(|line| line.strip_prefix(name))?)? * 1024.0);
        // Newer kernels report the number of open files as the folder's size.
        let open = fs::metadata("/proc/self/fd").map_or(0, |folder| folder.len());
        let open = if open > 0 { open } else { fs::read_dir("/proc/self/fd").map_or(0, |all| all.count() as u64) };
        Some(Self {
            started: boot + field(22)? / TICKS,
            cpu: (field(14)? + field(15)?) / TICKS,
            resident: kib("VmRSS:")?,
            virtual_size: kib("VmSize:")?,
            open_files: open as f64,
            max_files: line("/proc/self/limits", "Max open files").unwrap_or(f64::INFINITY),
        })
    }
}

/// The first number after `name` in a file.
fn line(file: &str, name: &str) -> Option<f64> {
    first(fs::read_to_string(file).ok()?.lines().find_map(|line| line.strip_prefix(name))?)
}

fn first(text: &str) -> Option<f64> {
    text.split_whitespace().next()?.parse().ok()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_this_process() {
        let seen = ProcessStats::read().unwrap();
        // 2020 to 2100, in seconds.
        assert!((1.5e9..4.2e9).contains(&seen.started), "{}", seen.started);
        assert!((1e6..1e10).contains(&seen.resident) && seen.virtual_size >= seen.resident);
        assert!((3.0..1e6).contains(&seen.open_files) && seen.max_files >= seen.open_files);
        assert!((0.0..1e6).contains(&seen.cpu));
        let before = seen.open_files;
        let _file = fs::File::open("/proc/self/stat").unwrap();
        // Other tests open and close theirs meanwhile; the folder is not empty, that is all that is certain.
        assert!(ProcessStats::read().unwrap().open_files > 0.0 && before > 0.0);
    }
}
