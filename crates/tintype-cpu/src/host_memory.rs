//! How much memory the host has left.

use std::path::Path;

use tintype_ops::MemoryInfo;

/// Taken where the system does not say: enough for the small models that such a system runs.
const FALLBACK_BYTES: u64 = 4 << 30;

/// What the kernel says is available, within the limit of this process's control group.
pub(crate) fn memory_info() -> MemoryInfo {
    let host = read("/proc/meminfo").and_then(|text| parse_meminfo(&text));
    let host =
        host.unwrap_or(MemoryInfo { free_bytes: FALLBACK_BYTES, total_bytes: FALLBACK_BYTES });
    let limit = read("/sys/fs/cgroup/memory.max").and_then(|text| text.trim().parse().ok());
    let stat = read("/sys/fs/cgroup/memory.stat").unwrap_or_default();
    within_limit(host, limit, &stat)
}

fn read(path: impl AsRef<Path>) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

fn parse_meminfo(text: &str) -> Option<MemoryInfo> {
    let bytes = |field: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(field))?;
        let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
        kib.checked_mul(1024)
    };
    let total_bytes = bytes("MemTotal:")?;
    let free_bytes = bytes("MemAvailable:").or_else(|| bytes("MemFree:"))?;
    Some(MemoryInfo { free_bytes: free_bytes.min(total_bytes), total_bytes })
}

/// Applies a control group's limit. Of what the group uses only anonymous memory counts: pages of
/// files give way.
fn within_limit(host: MemoryInfo, limit: Option<u64>, stat: &str) -> MemoryInfo {
    let Some(limit) = limit else { return host };
    let anonymous = stat.lines().find_map(|line| line.strip_prefix("anon "));
    let used: u64 = anonymous.and_then(|bytes| bytes.trim().parse().ok()).unwrap_or(0);
    MemoryInfo {
        free_bytes: host.free_bytes.min(limit.saturating_sub(used)),
        total_bytes: host.total_bytes.min(limit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMINFO: &str = "MemTotal:       1000 kB\nMemFree:  10 kB\nMemAvailable:    400 kB\n";

    #[test]
    fn meminfo_is_read_in_kib() {
        let info = parse_meminfo(MEMINFO).unwrap();
        assert_eq!((info.free_bytes, info.total_bytes), (400 << 10, 1000 << 10));
        assert_eq!(parse_meminfo("MemTotal: x kB"), None);
    }

    #[test]
    fn old_kernels_say_only_what_is_free() {
        let info = parse_meminfo("MemTotal: 1000 kB\nMemFree: 10 kB\n").unwrap();
        assert_eq!(info.free_bytes, 10 << 10);
    }

    #[test]
    fn a_control_group_limits_both() {
        let host = parse_meminfo(MEMINFO).unwrap();
        let stat = "anon 1024\nfile 999\n";
        let info = within_limit(host, Some(100 << 10), stat);
        assert_eq!((info.free_bytes, info.total_bytes), (99 << 10, 100 << 10));
        assert_eq!(within_limit(host, None, stat), host);
    }

    #[test]
    fn this_machine_has_memory() {
        let info = memory_info();
        assert!(info.free_bytes > 0 && info.free_bytes <= info.total_bytes);
    }
}
