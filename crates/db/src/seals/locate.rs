//! Which row is to blame where a range does not give its hash: the seal's index and the rows that are there now,
//! compared side by side in order.

use std::collections::HashMap;

use super::format::{INDEXED, Place};

/// The beginning of a content's hash.
type Tag = [u8; INDEXED - 16];

/// The first row that differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Where it is, or was if it is gone.
    pub(super) place: Place,
    pub(super) what: What,
}

/// How it differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Changed,
    Removed,
    Inserted,
    Swapped(Place),
    Moved(Place),
}

/// Compares the index of a seal with that of the rows that are there now. `None` if they are equal.
pub(super) fn first_difference(sealed: &[u8], found: &[u8]) -> Option<Found> {
    let (mut sealed_rows, mut found_rows) = (entries(sealed).peekable(), entries(found).peekable());
    loop {
        match (sealed_rows.peek().copied(), found_rows.peek().copied()) {
            (was, Some(is)) if was.is_none_or(|was| is.0 < was.0) => {
                return Some(match find(sealed, is.1) {
                    Some(was) => Found { place: was, what: What::Moved(is.0) },
                    None => Found { place: is.0, what: What::Inserted },
                });
            }
            (Some(was), Some(is)) if was == is => {
                sealed_rows.next();
                found_rows.next();
            }
            (Some(was), Some(is)) if was.0 == is.0 => return Some(changed(was, is, sealed, found)),
            (Some(was), _) => {
                let what = find(found, was.1).map_or(What::Removed, What::Moved);
                return Some(Found { place: was.0, what });
            }
            (None, _) => return None,
        }
    }
}

/// The content at one place differs: another row's content, or none that was sealed.
fn changed(was: (Place, Tag), is: (Place, Tag), sealed: &[u8], found: &[u8]) -> Found {
    let now: HashMap<Place, Tag> = entries(found).collect();
    let other = find(sealed, is.1).filter(|other| now.get(other) == Some(&was.1));
    Found { place: was.0, what: other.map_or(What::Changed, What::Swapped) }
}

/// Where the content with this tag is.
fn find(index: &[u8], tag: Tag) -> Option<Place> {
    entries(index).find(|entry| entry.1 == tag).map(|entry| entry.0)
}

fn entries(index: &[u8]) -> impl Iterator<Item = (Place, Tag)> {
    index.as_chunks::<INDEXED>().0.iter().filter_map(|entry| {
        let (txid, rest) = entry.split_first_chunk()?;
        let (seq, tag) = rest.split_first_chunk()?;
        let place = Place { txid: i64::from_be_bytes(*txid), seq: i64::from_be_bytes(*seq) };
        Some((place, tag.try_into().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::seals::format::{Hash, RowsHasher, SealedRow};

    fn index(rows: &[(i64, i64, &str)]) -> Vec<u8> {
        let mut hasher = RowsHasher::default();
        for (txid, seq, content) in rows {
            let place = Place { txid: *txid, seq: *seq };
            hasher.add(SealedRow { place, content: Hash::of(content.as_bytes()) });
        }
        hasher.finish().index
    }

    fn place(txid: i64, seq: i64) -> Place {
        Place { txid, seq }
    }

    #[test]
    fn each_kind_of_change_is_told() {
        let sealed = [(7, 1, "a"), (7, 2, "b"), (9, 3, "c"), (9, 5, "d")];
        for (found, at, what) in [
            (vec![(7, 1, "a"), (7, 2, "B"), (9, 3, "c"), (9, 5, "d")], (7, 2), What::Changed),
            (vec![(7, 1, "a"), (9, 3, "c"), (9, 5, "d")], (7, 2), What::Removed),
            (vec![(7, 1, "a"), (7, 2, "b"), (9, 3, "c")], (9, 5), What::Removed),
            (vec![], (7, 1), What::Removed),
            (vec![(7, 1, "a"), (7, 2, "b"), (9, 3, "c"), (9, 4, "x"), (9, 5, "d")], (9, 4), What::Inserted),
            (vec![(6, 9, "x"), (7, 1, "a"), (7, 2, "b"), (9, 3, "c"), (9, 5, "d")], (6, 9), What::Inserted),
            (vec![(7, 1, "c"), (7, 2, "b"), (9, 3, "a"), (9, 5, "d")], (7, 1), What::Swapped(place(9, 3))),
            (vec![(7, 2, "b"), (9, 3, "c"), (9, 4, "a"), (9, 5, "d")], (7, 1), What::Moved(place(9, 4))),
            (vec![(6, 6, "d"), (7, 1, "a"), (7, 2, "b"), (9, 3, "c")], (9, 5), What::Moved(place(6, 6))),
        ] {
            let expected = Found { place: place(at.0, at.1), what };
            assert_eq!(first_difference(&index(&sealed), &index(&found)), Some(expected), "{found:?}");
        }
        assert_eq!(first_difference(&index(&sealed), &index(&sealed)), None);
    }

    proptest! {
        #[test]
        fn one_change_anywhere_is_named(count in 1_i64..200, at in 0_i64..200, kind in 0..3) {
            let at = at % count;
            let rows: Vec<_> = (0..count).map(|n| (n / 3, 2 * n, n.to_string())).collect();
            let mut found = rows.clone();
            let index_of = |rows: &[(i64, i64, String)]| {
                index(&rows.iter().map(|(t, s, c)| (*t, *s, c.as_str())).collect::<Vec<_>>())
            };
            let slot = usize::try_from(at).unwrap_or_default();
            let (txid, seq, _) = rows[slot].clone();
            let expected = match kind {
                0 => {
                    found[slot].2.push('x');
                    Found { place: place(txid, seq), what: What::Changed }
                }
                1 => {
                    found.remove(slot);
                    Found { place: place(txid, seq), what: What::Removed }
                }
                _ => {
                    found.insert(slot + 1, (txid, seq + 1, "x".to_owned()));
                    Found { place: place(txid, seq + 1), what: What::Inserted }
                }
            };
            prop_assert_eq!(first_difference(&index_of(&rows), &index_of(&found)), Some(expected));
        }
    }
}
