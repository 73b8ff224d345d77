//! The canonical form of rows and seals, and their hashes. `docs/seal-format.md` describes it for strangers and has
//! test vectors; the two change together, with a new version in [`DOMAIN`].

use std::{fmt, str::FromStr};

use chrono::{DateTime, Utc};
use mesh_six_core::ApiError;
use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};

/// What the canonical form of a seal begins with.
const DOMAIN: &[u8] = b"mesh-six seal 1\n";
/// 2000-01-01 in microseconds since 1970: PostgreSQL's binary form counts from then.
const POSTGRES_EPOCH: i64 = 946_684_800_000_000;
/// Bytes of a row in the index of its seal.
pub(super) const INDEXED: usize = 20;

/// A SHA-256, in hex where it is text.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hash([u8; 32]);

impl Hash {
    /// What the first seal has as the hash of the one before it.
    pub const ZERO: Self = Self([0; 32]);

    pub(super) fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl TryFrom<&[u8]> for Hash {
    type Error = std::array::TryFromSliceError;

    fn try_from(bytes: &[u8]) -> Result<Self, Self::Error> {
        bytes.try_into().map(Self)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Hash {
    type Err = ApiError;

    fn from_str(text: &str) -> Result<Self, ApiError> {
        let wrong = || ApiError::validation("hash", "not a hash: 64 hex digits are wanted");
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
            *byte = text.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok()).ok_or_else(wrong)?;
        }
        Ok(Self(bytes))
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// Where a row stands in the log's order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Place {
    pub(super) txid: i64,
    pub(super) seq: i64,
}

/// A row as it is sealed: its place, and the hash of everything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SealedRow {
    pub(super) place: Place,
    pub(super) content: Hash,
}

/// The hash of a row's content: of its fields in order, each in PostgreSQL's binary form with its length before it,
/// as `COPY ... (FORMAT binary)` writes them; NULL is the length -1.
pub(super) fn content_hash<'a>(fields: impl Iterator<Item = Option<&'a [u8]>>) -> Hash {
    let mut hasher = Sha256::new();
    for field in fields {
        let length = field.map_or(-1, |bytes| i32::try_from(bytes.len()).unwrap_or(i32::MAX));
        hasher.update(length.to_be_bytes());
        hasher.update(field.unwrap_or_default());
    }
    Hash(hasher.finalize().into())
}

/// Takes the rows of a range in order; ends as their hash and the index of the seal.
#[derive(Default)]
pub(super) struct RowsHasher {
    hasher: Sha256,
    index: Vec<u8>,
    last: Option<Place>,
}

/// What a [`RowsHasher`] has seen.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rows {
    pub(super) hash: Hash,
    pub(super) index: Vec<u8>,
    pub(super) last: Option<Place>,
}

impl RowsHasher {
    pub(super) fn add(&mut self, row: SealedRow) {
        let (txid, seq) = (row.place.txid.to_be_bytes(), row.place.seq.to_be_bytes());
        self.hasher.update(txid);
        self.hasher.update(seq);
        self.hasher.update(row.content.0);
        self.index.extend_from_slice(&txid);
        self.index.extend_from_slice(&seq);
        self.index.extend_from_slice(&row.content.0[..INDEXED - 16]);
        self.last = Some(row.place);
    }

    pub(super) fn finish(self) -> Rows {
        Rows { hash: Hash(self.hasher.finalize().into()), index: self.index, last: self.last }
    }
}

impl Rows {
    pub(super) fn count(&self) -> i64 {
        i64::try_from(self.index.len() / INDEXED).unwrap_or(i64::MAX)
    }
}

/// The fields of a seal that its hash covers.
pub(super) struct SealForm<'a> {
    pub(super) number: i64,
    pub(super) month: i32,
    pub(super) kind: &'a str,
    pub(super) from: Place,
    pub(super) to: Place,
    pub(super) row_count: i64,
    pub(super) created_at: DateTime<Utc>,
    pub(super) rows_hash: Hash,
    pub(super) index_hash: Hash,
    pub(super) previous_hash: Hash,
}

impl SealForm<'_> {
    /// The seal's hash: the next link of the chain.
    pub(super) fn hash(&self) -> Hash {
        let mut form = DOMAIN.to_vec();
        form.extend_from_slice(&self.number.to_be_bytes());
        form.extend_from_slice(&self.month.to_be_bytes());
        form.extend_from_slice(&i32::try_from(self.kind.len()).unwrap_or(i32::MAX).to_be_bytes());
        form.extend_from_slice(self.kind.as_bytes());
        for number in [self.from.txid, self.from.seq, self.to.txid, self.to.seq, self.row_count] {
            form.extend_from_slice(&number.to_be_bytes());
        }
        form.extend_from_slice(&(self.created_at.timestamp_micros() - POSTGRES_EPOCH).to_be_bytes());
        for hash in [self.rows_hash, self.index_hash, self.previous_hash] {
            form.extend_from_slice(hash.as_bytes());
        }
        Hash::of(&form)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that cannot go on should fail there")]
mod tests {
    use super::*;

    #[test]
    fn fields_cannot_run_into_each_other() {
        let hash = |fields: &[Option<&[u8]>]| content_hash(fields.iter().copied());
        assert_ne!(hash(&[Some(b"ab"), Some(b"c")]), hash(&[Some(b"a"), Some(b"bc")]));
        assert_ne!(hash(&[None]), hash(&[Some(b"")]));
        assert_eq!(hash(&[None, Some(b"a")]), Hash::of(b"\xff\xff\xff\xff\x00\x00\x00\x01a"));
    }

    #[test]
    fn a_hash_is_64_hex_digits() {
        let hash = Hash::of(b"");
        assert_eq!(hash.to_string(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(hash.to_string().to_uppercase().parse::<Hash>().unwrap(), hash);
        for bad in ["", "e3", &"g".repeat(64), &"é".repeat(32), &hash.to_string()[1..]] {
            assert_eq!(bad.parse::<Hash>().unwrap_err().field.as_deref(), Some("hash"), "{bad}");
        }
    }

    #[test]
    fn no_rows_hash_as_nothing() {
        let rows = RowsHasher::default().finish();
        assert_eq!((rows.hash, rows.count(), rows.last), (Hash::of(b""), 0, None));
    }
}
