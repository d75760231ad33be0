//! The figures of a comparison as a Markdown table.

use crate::compare::Measurement;
use crate::samples::Call;
use crate::servers::Server;

const HEAD: [&str; 13] = [
    "call",
    "server",
    "calls/s",
    "ratio",
    "calls/s per core",
    "ratio",
    "CPU µs/call",
    "p50 µs",
    "p99 µs",
    "one caller p50 µs",
    "peak RSS MiB",
    "server core",
    "errors",
];

/// One line: a server with a call, measured once a round.
pub(crate) struct Row {
    pub call: Call,
    pub server: Server,
    pub measurements: Vec<Measurement>,
}

impl Row {
    fn median(&self, figure: impl Fn(&Measurement) -> f64) -> f64 {
        median(self.measurements.iter().map(figure).collect())
    }

    fn rate(&self) -> f64 {
        self.median(|m| m.busy.calls as f64 / m.busy.seconds)
    }

    /// What a core that did nothing else would carry. Holds on a noisy machine too.
    fn rate_per_core(&self) -> f64 {
        self.median(|m| m.busy.calls as f64 / m.busy.server_cpu_seconds)
    }
}

/// The table, and what its columns mean. Each `servers` rows belong to one call; the first of them is what the others
/// are compared with.
pub(crate) fn markdown(rows: &[Row], servers: usize) -> String {
    let mut lines = vec![line(&HEAD.map(String::from)), line(&HEAD.map(|_| "---".into()))];
    for group in rows.chunks(servers.max(1)) {
        lines.extend(group.iter().map(|row| line(&cells(row, &group[0]))));
    }
    lines.push(String::new());
    lines.push(
        "Ratios are to the first server of the call. Server core: the part of its core that the server used; below \
         about 0.95 the stub, the load or other processes were the limit, and calls/s per core is the figure to compare."
            .into(),
    );
    lines.join("\n")
}

fn cells(row: &Row, base: &Row) -> [String; HEAD.len()] {
    let errors: u64 = row.measurements.iter().flat_map(|m| [&m.busy, &m.alone]).flat_map(|r| r.errors.values()).sum();
    [
        row.call.method().into(),
        row.server.name().into(),
        format!("{:.0}", row.rate()),
        format!("{:.3}", row.rate() / base.rate()),
        format!("{:.0}", row.rate_per_core()),
        format!("{:.3}", row.rate_per_core() / base.rate_per_core()),
        format!("{:.1}", 1e6 / row.rate_per_core()),
        format!("{:.0}", row.median(|m| m.busy.p50_us)),
        format!("{:.0}", row.median(|m| m.busy.p99_us)),
        format!("{:.0}", row.median(|m| m.alone.p50_us)),
        format!("{:.1}", row.median(|m| m.busy.peak_rss_mib)),
        format!("{:.2}", row.median(|m| m.busy.server_cpu_seconds / m.busy.seconds)),
        errors.to_string(),
    ]
}

/// A line of a table.
pub(crate) fn line(cells: &[String]) -> String {
    format!("| {} |", cells.join(" | "))
}

/// The middle value, or the mean of the two in the middle. Not a number when there is none.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[middle],
        _ => (values[middle - 1] + values[middle]) / 2.0,
    }
}
