// SPDX-License-Identifier: GPL-3.0-or-later
//! Tells a whole image file from one that broke off.
//!
//! Looks at the header and at what each format has at its end; pixels are not decoded, which
//! would cost as much as writing them. A format without an end mark passes when its header is
//! right.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

/// Why a file is no whole image.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It is, but not what its name says.
    #[error("{0}")]
    Content(&'static str),
}

/// Checks that the file is a whole image of the kind its extension names.
pub fn check(path: &Path) -> Result<(), Broken> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    if size == 0 {
        return Err(Broken::Content("it is empty"));
    }
    let mut head = [0; 16];
    let got = read_up_to(&mut file, &mut head)?;
    let head = &head[..got];
    let extension = path
        .extension()
        .map(|extension| extension.to_string_lossy().to_ascii_lowercase())
        .unwrap_or_default();
    // A render without extensions is known by its first bytes.
    match extension.as_str() {
        "png" => png(&mut file, head, size),
        "jpg" | "jpeg" => jpeg(&mut file, head, size),
        "exr" => exr(path, head),
        "webp" => webp(head, size),
        "bmp" => bmp(head, size),
        "tif" | "tiff" => decodable(path),
        _ if head.starts_with(b"\x89PNG") => png(&mut file, head, size),
        _ if head.starts_with(b"\xFF\xD8\xFF") => jpeg(&mut file, head, size),
        _ if head.starts_with(EXR_MAGIC) => exr(path, head),
        _ => Ok(()),
    }
}

const EXR_MAGIC: &[u8] = &[0x76, 0x2F, 0x31, 0x01];

fn png(file: &mut File, head: &[u8], size: u64) -> Result<(), Broken> {
    if !head.starts_with(b"\x89PNG\r\n\x1A\n") || head.get(12..16) != Some(b"IHDR") {
        return Err(Broken::Content("it does not begin as a PNG"));
    }
    if tail(file, size, 12)? != *b"\0\0\0\0IEND\xAE\x42\x60\x82" {
        return Err(Broken::Content("the PNG breaks off before its end"));
    }
    Ok(())
}

fn jpeg(file: &mut File, head: &[u8], size: u64) -> Result<(), Broken> {
    if !head.starts_with(b"\xFF\xD8\xFF") {
        return Err(Broken::Content("it does not begin as a JPEG"));
    }
    if tail(file, size, 2)? != *b"\xFF\xD9" {
        return Err(Broken::Content("the JPEG breaks off before its end"));
    }
    Ok(())
}

/// An OpenEXR file that broke off has zeros in its table of offsets, or offsets beyond its end;
/// reading the headers and that table finds both.
fn exr(path: &Path, head: &[u8]) -> Result<(), Broken> {
    if !head.starts_with(EXR_MAGIC) {
        return Err(Broken::Content("it does not begin as an OpenEXR file"));
    }
    let content = std::fs::read(path)?;
    let headers = exr_offsets(&content)
        .ok_or(Broken::Content("the OpenEXR file breaks off in its header"))?;
    let size = content.len() as u64;
    if headers.iter().any(|offset| *offset == 0 || *offset >= size) {
        return Err(Broken::Content(
            "the OpenEXR file breaks off before its end",
        ));
    }
    Ok(())
}

/// The first offsets of the chunk table: as many as lie between the header and the first chunk.
fn exr_offsets(content: &[u8]) -> Option<Vec<u64>> {
    let version = u32::from_le_bytes(content.get(4..8)?.try_into().ok()?);
    let multipart = version & 0x1000 != 0;
    let mut at = 8;
    loop {
        // One header: attributes of name, type, size and value, ended by an empty name.
        while *content.get(at)? != 0 {
            for _ in 0..2 {
                at += content.get(at..)?.iter().position(|byte| *byte == 0)? + 1;
            }
            let size = u32::from_le_bytes(content.get(at..at + 4)?.try_into().ok()?);
            at = at.checked_add(4 + usize::try_from(size).ok()?)?;
        }
        at += 1;
        // Parts follow each other until an empty header.
        if !multipart {
            break;
        }
        if *content.get(at)? == 0 {
            at += 1;
            break;
        }
    }
    let mut offsets = Vec::new();
    let mut smallest = content.len() as u64;
    while (at as u64) < smallest {
        let offset = u64::from_le_bytes(content.get(at..at + 8)?.try_into().ok()?);
        if offset == 0 {
            // An unwritten entry: told to the caller as such.
            return Some(vec![0]);
        }
        smallest = smallest.min(offset);
        offsets.push(offset);
        at += 8;
    }
    Some(offsets)
}

fn webp(head: &[u8], size: u64) -> Result<(), Broken> {
    let length = head.get(4..8).and_then(|bytes| bytes.try_into().ok());
    match length.map(u32::from_le_bytes) {
        Some(length) if head.starts_with(b"RIFF") && size >= u64::from(length) + 8 => Ok(()),
        Some(_) | None => Err(Broken::Content("the WebP file breaks off")),
    }
}

fn bmp(head: &[u8], size: u64) -> Result<(), Broken> {
    let length = head.get(2..6).and_then(|bytes| bytes.try_into().ok());
    match length.map(u32::from_le_bytes) {
        Some(length) if head.starts_with(b"BM") && size >= u64::from(length) => Ok(()),
        Some(_) | None => Err(Broken::Content("the BMP file breaks off")),
    }
}

fn decodable(path: &Path) -> Result<(), Broken> {
    let dimensions = image::ImageReader::open(path)?
        .with_guessed_format()?
        .into_dimensions();
    dimensions
        .map(|_| ())
        .map_err(|_| Broken::Content("its header cannot be decoded"))
}

fn read_up_to(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut got = 0;
    while got < buffer.len() {
        match file.read(&mut buffer[got..])? {
            0 => break,
            count => got += count,
        }
    }
    Ok(got)
}

fn tail(file: &mut File, size: u64, count: u64) -> Result<Vec<u8>, Broken> {
    file.seek(SeekFrom::Start(size.saturating_sub(count)))?;
    let mut bytes = Vec::new();
    file.take(count).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_image_is_never_whole() {
        // Protects final names from half-written files, for every format and every cut.
        let dir = tempfile::tempdir().unwrap();
        let picture = image::DynamicImage::new_rgb8(20, 10);
        for name in ["a.png", "a.jpg", "a.webp"] {
            let path = dir.path().join(name);
            picture.save(&path).unwrap();
            assert_cuts_are_seen(&path);
        }
        let path = dir.path().join("a.exr");
        image::DynamicImage::new_rgba32f(20, 40)
            .save(&path)
            .unwrap();
        assert_cuts_are_seen(&path);
    }

    fn assert_cuts_are_seen(path: &Path) {
        check(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let whole = std::fs::read(path).unwrap();
        for kept in [0, 1, 7, whole.len() / 4, whole.len() / 2] {
            std::fs::write(path, &whole[..kept]).unwrap();
            assert!(check(path).is_err(), "{} cut at {kept}", path.display());
        }
    }

    #[test]
    fn an_exr_whose_table_was_never_filled_is_not_whole() {
        // Protects against a writer that died after reserving its table of offsets.
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.exr");
        image::DynamicImage::new_rgba32f(20, 40)
            .save(&path)
            .unwrap();
        let mut content = std::fs::read(&path).unwrap();
        let first = *exr_offsets(&content).unwrap().iter().min().unwrap();
        let first = usize::try_from(first).unwrap();
        content[first - 8..first].fill(0);
        std::fs::write(&path, &content).unwrap();
        assert!(check(&path).is_err());
    }
}
