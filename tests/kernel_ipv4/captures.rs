//! Packets that others have made: the project's capture of two hosts, and the packet
//! collection beside the project.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use crate::corpus::{Sample, put, seal, sealed};

/// The packet collection, which the project does not contain.
const COLLECTION: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data/packets");

/// Whether a packet of this name would be of the collection, and that is missing.
pub(crate) fn absent(name: &str) -> bool {
    name.contains('#') && !name.starts_with("hosts.pcap") && !Path::new(COLLECTION).exists()
}

/// The IPv4 packets of all captures, each once, and a line for whatever was left out.
///
/// A packet of the collection is there as it was, and with a destination that has a
/// route: most have none.
pub(crate) fn all() -> (Vec<Sample>, Vec<String>) {
    let mut skipped = Vec::new();
    let mut samples =
        read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures/hosts.pcap"), &mut skipped);
    let mut files: Vec<_> = match fs::read_dir(COLLECTION) {
        Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
        Err(error) => {
            skipped.push(format!("SKIP kernel_ipv4: the packet collection: {error}"));
            Vec::new()
        }
    };
    files.sort();
    for file in files {
        let mut originals = read(&file, &mut skipped);
        let copies: Vec<_> = originals.iter().filter_map(routed).collect();
        samples.append(&mut originals);
        samples.extend(copies);
    }
    let mut known = HashSet::new();
    samples.retain(|sample| known.insert(sample.octets.clone()));
    (samples, skipped)
}

/// The same packet with a destination that has a route, and with a right checksum if
/// it had one.
fn routed(sample: &Sample) -> Option<Sample> {
    let mut octets = sample.octets.clone();
    if octets.len() < 20 {
        return None;
    }
    let right = sealed(&octets);
    put(&mut octets, 16, &[10, 2, 0, 9]);
    if right {
        seal(&mut octets);
    }
    Some(Sample { name: format!("{} routed", sample.name), octets })
}

/// The IPv4 packets of one file.
fn read(path: &Path, skipped: &mut Vec<String>) -> Vec<Sample> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let frames = match path.extension().and_then(|extension| extension.to_str()) {
        Some("dat") => {
            fs::read_to_string(path).ok().and_then(|text| hex(&text)).map(|frame| vec![(1, frame)])
        }
        Some("pcap" | "pcapng") => fs::read(path).ok().and_then(|file| match file.get(..4) {
            Some([0x0a, 0x0d, 0x0d, 0x0a]) => pcapng(&file),
            _ => pcap(&file),
        }),
        _ => return Vec::new(),
    };
    let Some(frames) = frames else {
        skipped.push(format!("SKIP kernel_ipv4: {name}: not a file that can be read"));
        return Vec::new();
    };
    let mut samples = Vec::new();
    for ((link, frame), number) in frames.iter().zip(1..) {
        match ipv4_of(*link, frame) {
            Ok(Some(packet)) => {
                samples.push(Sample { name: format!("{name}#{number}"), octets: packet.to_vec() })
            }
            Ok(None) => {}
            Err(link) => skipped.push(format!("SKIP kernel_ipv4: {name}#{number}: link type {link}")),
        }
    }
    samples
}

/// What lies behind the link header, if that says IPv4.
///
/// # Errors
///
/// The type of a link that is not known here.
fn ipv4_of(link: u32, frame: &[u8]) -> Result<Option<&[u8]>, u32> {
    const ETHERNET: u32 = 1;
    if link != ETHERNET {
        return Err(link);
    }
    let mut at = 12;
    loop {
        match frame.get(at..at + 2) {
            Some([0x08, 0x00]) => return Ok(frame.get(at + 2..)),
            Some([0x81, 0x00] | [0x88, 0xa8]) => at += 4,
            _ => return Ok(None),
        }
    }
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = text.trim().chars().map(|digit| digit.to_digit(16)).collect();
    let (pairs, rest) = digits.as_deref()?.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|[high, low]| (high << 4 | low) as u8).collect())
}

/// Little-endian, as all files here are.
fn le(file: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*file.get(at..)?.first_chunk()?))
}

/// Frames and their link type, of a classic capture.
fn pcap(file: &[u8]) -> Option<Vec<(u32, Vec<u8>)>> {
    if le(file, 0)? != 0xa1b2_c3d4 {
        return None;
    }
    let link = le(file, 20)?;
    let (mut frames, mut at) = (Vec::new(), 24);
    while at < file.len() {
        let len = le(file, at + 8)? as usize;
        frames.push((link, file.get(at + 16..at + 16 + len)?.to_vec()));
        at += 16 + len;
    }
    Some(frames)
}

/// The same of a pcapng file: interface descriptions and enhanced packet blocks.
fn pcapng(file: &[u8]) -> Option<Vec<(u32, Vec<u8>)>> {
    let (mut links, mut frames, mut at) = (Vec::new(), Vec::new(), 0);
    while at < file.len() {
        match le(file, at)? {
            1 => links.push(le(file, at + 8)? & 0xffff),
            6 => {
                let link = *links.get(le(file, at + 8)? as usize)?;
                let len = le(file, at + 20)? as usize;
                frames.push((link, file.get(at + 28..at + 28 + len)?.to_vec()));
            }
            _ => {}
        }
        at += le(file, at + 4).filter(|&len| len > 0)? as usize;
    }
    Some(frames)
}
