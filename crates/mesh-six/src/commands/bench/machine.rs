//! On what it was measured.

use std::fmt;

use serde::Serialize;

/// The machine, as far as it tells.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Machine {
    cpus: usize,
    cpu: String,
    memory_mib: u64,
    os: String,
    /// Load average of the last minute when the run began: other work takes from both sides of a ratio, but not
    /// always evenly.
    load: f64,
    /// Whether this binary was built with optimisations.
    optimised: bool,
}

impl Machine {
    pub(super) fn read() -> Self {
        let file = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let unknown = || "unknown".to_owned();
        let model = field(&file("/proc/cpuinfo"), "model name").unwrap_or_else(unknown);
        let memory = field(&file("/proc/meminfo"), "MemTotal").unwrap_or_default();
        let kernel = file("/proc/sys/kernel/osrelease");
        let load = file("/proc/loadavg");
        Self {
            cpus: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            cpu: model,
            memory_mib: kib(&memory) / 1024,
            os: format!("{} {}", std::env::consts::OS, kernel.trim()),
            load: load.split(' ').next().and_then(|l| l.parse().ok()).unwrap_or_default(),
            optimised: !cfg!(debug_assertions),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cpus, cpu, memory_mib, os, load, optimised } = self;
        write!(f, "machine  {cpus} x {cpu}, {memory_mib} MiB, {os}, load {load}")?;
        if !optimised {
            write!(f, "\n         built without optimisations: the figures mean little")?;
        }
        Ok(())
    }
}

/// The value of a line `name : value`.
pub(super) fn field(text: &str, name: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// The number of a value such as `1234 kB`.
pub(super) fn kib(value: &str) -> u64 {
    value.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_proc() {
        let text = "VmPeak:\t  100 kB\nVmRSS:\t   2048 kB\n";
        assert_eq!(field(text, "VmRSS").map(|v| kib(&v)), Some(2048));
        assert_eq!(field(text, "VmSwap"), None);
    }
}
