//! A bar for long work, on a terminal only.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Counts events up to `total`; where that is not known, only counts.
pub(crate) fn events(total: Option<u64>) -> ProgressBar {
    let template = match total {
        Some(_) => "{wide_bar} {human_pos}/{human_len} events  {per_sec}",
        None => "{spinner} {human_pos} events  {per_sec}",
    };
    bar(total, template)
}

/// Counts bytes up to `total`; where that is not known, only counts.
pub(crate) fn bytes(total: Option<u64>) -> ProgressBar {
    let template = match total {
        Some(_) => "{wide_bar} {bytes}/{total_bytes}  {bytes_per_sec}",
        None => "{spinner} {bytes}  {bytes_per_sec}",
    };
    bar(total, template)
}

fn bar(total: Option<u64>, template: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
    bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}
