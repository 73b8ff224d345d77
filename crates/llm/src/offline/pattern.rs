//! A text that matches a regular expression, best effort: look-around and back references are beyond it.

use regex_syntax::hir::{Class, Hir, HirKind};

/// Longest text that is built, in bytes.
const MAX_BYTES: usize = 16 * 1024;
/// How far repetitions are stretched to reach a length.
const MAX_TIMES: u64 = 4_096;
/// Stretches that are tried beyond that to find one more text.
const MORE_TIMES: u64 = 64;
/// Characters taken from a class first, because they read well.
const PREFERRED: &str = "a0A-_ .";

/// A text of `least` to `most` characters that matches `pattern`. Repetitions are stretched until it is long
/// enough, and further for the `nth` text that differs from those before; the first one again where there are
/// not so many.
pub(super) fn matching(pattern: &str, least: u64, most: u64, nth: u64) -> Option<String> {
    let hir = regex_syntax::parse(pattern).ok()?;
    let stretched = |times: u64| {
        let mut out = String::new();
        write(&hir, u32::try_from(times).unwrap_or(u32::MAX), &mut out).then_some(out)
    };
    let fits = |text: &String| (least..=most).contains(&(crate::text::chars(text) as u64));
    let first = (0..=least.min(MAX_TIMES)).find(|times| stretched(*times).as_ref().is_some_and(fits))?;
    let mut different = (first..=first + nth + MORE_TIMES).filter_map(stretched).filter(fits).collect::<Vec<_>>();
    different.dedup();
    let wanted = usize::try_from(nth).ok().filter(|nth| *nth < different.len()).unwrap_or(0);
    Some(different.swap_remove(wanted))
}

/// Appends a match of `hir`; false where there is none or it grows too long.
fn write(hir: &Hir, times: u32, out: &mut String) -> bool {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => true,
        HirKind::Literal(literal) => std::str::from_utf8(&literal.0).map(|text| out.push_str(text)).is_ok(),
        HirKind::Class(class) => character(class).map(|c| out.push(c)).is_some(),
        HirKind::Repetition(repetition) => {
            let count = times.max(repetition.min).min(repetition.max.unwrap_or(u32::MAX));
            (0..count).all(|_| out.len() < MAX_BYTES && write(&repetition.sub, times, out))
        }
        HirKind::Capture(capture) => write(&capture.sub, times, out),
        HirKind::Concat(parts) => parts.iter().all(|part| write(part, times, out)),
        HirKind::Alternation(parts) => {
            let length = out.len();
            parts.iter().any(|part| {
                out.truncate(length);
                write(part, times, out)
            })
        }
    }
}

fn character(class: &Class) -> Option<char> {
    let Class::Unicode(class) = class else { return None };
    let within = |c: char| class.ranges().iter().any(|range| (range.start()..=range.end()).contains(&c));
    let readable = || class.ranges().iter().flat_map(|range| range.start()..=range.end()).find(|c| !c.is_control());
    PREFERRED.chars().find(|c| within(*c)).or_else(readable).or_else(|| Some(class.ranges().first()?.start()))
}
