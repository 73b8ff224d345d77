//! The file of an export: begun, or gone on with where an interrupted run stopped.

use std::{
    io,
    path::{Path, PathBuf},
};

use mesh_six_core::{ApiError, StoredEvent, event::Position, hash::hex};
use sha2::{Digest, Sha256};
use tokio::{
    fs::{File, OpenOptions},
    io::{AsyncSeekExt, AsyncWriteExt, BufReader},
};

use super::{Line, TransferError, next_line};

/// An export's file under way.
pub struct ExportFile {
    path: PathBuf,
    file: File,
    hash: Sha256,
    rows: u64,
    bytes: u64,
    last: Option<Position>,
}

/// What a finished file holds.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    /// Events, one a line.
    pub rows: u64,
    /// The file's length.
    pub bytes: u64,
    /// SHA-256 of the whole file, in hex.
    pub sha256: String,
    /// Position of the last event; reading on from here gives what came later.
    pub last: Option<Position>,
}

impl ExportFile {
    /// Opens `path`. A file that is there already is gone on with: a half line at its end, left by a run that was
    /// interrupted, is cut off.
    pub async fn open(path: &Path) -> Result<Self, TransferError> {
        let failed = |source| TransferError::File { path: path.to_owned(), source };
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).await;
        let mut input = BufReader::new(file.map_err(failed)?);
        let (mut hash, mut rows, mut bytes) = (Sha256::new(), 0, 0);
        let (mut line, mut last_line) = (Vec::new(), Vec::new());
        while next_line(&mut input, &mut line).await.map_err(failed)? == Line::Whole {
            hash.update(&line);
            rows += 1;
            bytes += length(&line);
            std::mem::swap(&mut line, &mut last_line);
        }
        let last = match last_line.as_slice() {
            [] => None,
            text => Some(serde_json::from_slice::<StoredEvent>(text).map_err(|e| not_an_export(rows, &e))?.position),
        };
        let mut file = input.into_inner();
        file.set_len(bytes).await.map_err(failed)?;
        file.seek(io::SeekFrom::Start(bytes)).await.map_err(failed)?;
        Ok(Self { path: path.to_owned(), file, hash, rows, bytes, last })
    }

    /// The last event that it holds so far.
    pub fn last(&self) -> Option<Position> {
        self.last
    }

    /// How many events it holds so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Adds `events`, one a line.
    pub async fn write(&mut self, events: &[StoredEvent]) -> Result<(), TransferError> {
        let mut text = Vec::with_capacity(events.len() * 512);
        for event in events {
            serde_json::to_writer(&mut text, event).map_err(|e| not_an_export(self.rows, &e))?;
            text.push(b'\n');
        }
        self.file.write_all(&text).await.map_err(|source| self.failed(source))?;
        self.hash.update(&text);
        self.bytes += length(&text);
        self.rows += events.len() as u64;
        self.last = events.last().map(|event| event.position).or(self.last);
        Ok(())
    }

    /// Makes sure that everything is on the disk.
    pub async fn finish(mut self) -> Result<Receipt, TransferError> {
        self.file.flush().await.map_err(|source| self.failed(source))?;
        self.file.sync_all().await.map_err(|source| self.failed(source))?;
        let Self { hash, rows, bytes, last, .. } = self;
        Ok(Receipt { rows, bytes, sha256: hex(&hash.finalize()), last })
    }

    fn failed(&self, source: io::Error) -> TransferError {
        TransferError::File { path: self.path.clone(), source }
    }
}

fn length(text: &[u8]) -> u64 {
    text.len() as u64
}

fn not_an_export(line: u64, error: &serde_json::Error) -> TransferError {
    TransferError::Line { line, refusal: ApiError::validation("file", format!("not an event of an export: {error}")) }
}
