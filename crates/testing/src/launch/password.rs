//! Passwords that are made up once and kept in a folder.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use anyhow::{Context, Result};

/// The secret that this file holds, which is made now if there is none.
pub(crate) fn secret(file: &Path) -> Result<String> {
    if let Ok(text) = fs::read_to_string(file)
        && !text.is_empty()
    {
        return Ok(text);
    }
    let secret = random()?;
    write_private(file, &secret)?;
    Ok(secret)
}

/// 128 random bits, as hexadecimal digits.
pub(crate) fn random() -> Result<String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes)).context("cannot read /dev/urandom")?;
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
}

/// Writes a file that only its owner reads.
pub(crate) fn write_private(file: &Path, text: &str) -> Result<()> {
    let opened = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(file);
    opened
        .and_then(|mut opened| opened.write_all(text.as_bytes()))
        .with_context(|| format!("cannot write {}", file.display()))
}
