// SPDX-License-Identifier: GPL-3.0-or-later
//! Blocks of frames as bytes of a checkpoint, and back.
//!
//! Fixed widths, because a start reads them by the hundred thousand. The shot stands in the row's
//! key; output, view and those who published stand once for the frames that share them.

use crate::{
    AttemptId, JobId, Lsn, ShotId,
    entity::{Frame, FrameKey},
    rows::Error,
    task_rows::Fields,
};

/// Bits of a frame's flags.
mod flag {
    pub(super) const HAS_THUMBNAIL: u8 = 1;
    pub(super) const HAS_DETAIL: u8 = 1 << 1;
}

/// Which job published, under which epoch and incarnation.
type Owner = (JobId, u32, u32);

fn owner_of(frame: &Frame) -> Owner {
    let attempt = frame.attempt;
    (frame.job, attempt.job_epoch, attempt.incarnation)
}

fn count(count: usize) -> [u8; 4] {
    let count = u32::try_from(count).expect("a block has a few hundred frames");
    count.to_le_bytes()
}

/// Frames of one shot, in order of their keys.
pub(crate) fn write(frames: &[(FrameKey, Frame)]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(64 + frames.len() * 136);
    let same_names = |one: &(FrameKey, Frame), next: &(FrameKey, Frame)| {
        (&one.0.output, &one.0.view) == (&next.0.output, &next.0.view)
    };
    for group in frames.chunk_by(same_names) {
        for name in [&group[0].0.output, &group[0].0.view] {
            bytes.extend_from_slice(&count(name.len()));
            bytes.extend_from_slice(name.as_bytes());
        }
        let mut owners: Vec<Owner> = Vec::new();
        for (_, frame) in group {
            let owner = owner_of(frame);
            // The one that published this frame is nearly always the one of the frame before.
            if owners.iter().rposition(|known| *known == owner).is_none() {
                owners.push(owner);
            }
        }
        bytes.extend_from_slice(&count(owners.len()));
        for (job, epoch, incarnation) in &owners {
            bytes.extend_from_slice(job.uuid().as_bytes());
            bytes.extend_from_slice(&epoch.to_le_bytes());
            bytes.extend_from_slice(&incarnation.to_le_bytes());
        }
        bytes.extend_from_slice(&count(group.len()));
        for (key, frame) in group {
            let owner = owner_of(frame);
            let place = (owners.iter().rposition(|known| *known == owner)).unwrap_or_default();
            let mark = |has: bool, flag: u8| if has { flag } else { 0 };
            let flags = mark(frame.thumbnail.is_some(), flag::HAS_THUMBNAIL)
                | mark(frame.detail.is_some(), flag::HAS_DETAIL);
            bytes.extend_from_slice(&key.number.to_le_bytes());
            bytes.push(flags);
            bytes.extend_from_slice(&count(place));
            bytes.extend_from_slice(&frame.task.to_le_bytes());
            bytes.extend_from_slice(&frame.publications.to_le_bytes());
            bytes.extend_from_slice(&frame.attempt.lsn.get().to_le_bytes());
            bytes.extend_from_slice(&frame.size.to_le_bytes());
            bytes.extend_from_slice(&frame.hash);
            bytes.extend_from_slice(&frame.thumbnail.unwrap_or_default());
            bytes.extend_from_slice(&frame.detail.unwrap_or_default());
        }
    }
    bytes
}

fn name(fields: &mut Fields<'_>) -> Result<String, Error> {
    let length = fields.u32()?;
    let name = fields.bytes(length as usize)?;
    String::from_utf8(name.to_vec()).map_err(|_| Error::Inconsistent("a frame's name is no text"))
}

/// Out of such bytes, appended to `frames`.
pub(crate) fn read(
    shot: ShotId,
    bytes: &[u8],
    frames: &mut Vec<(FrameKey, Frame)>,
) -> Result<(), Error> {
    let fields = &mut Fields(bytes);
    while !fields.0.is_empty() {
        let (output, view) = (name(fields)?, name(fields)?);
        let mut owners: Vec<Owner> = Vec::new();
        for _ in 0..fields.u32()? {
            owners.push((JobId::new(fields.uuid()?), fields.u32()?, fields.u32()?));
        }
        for _ in 0..fields.u32()? {
            let number = fields.i32()?;
            let [flags] = fields.take()?;
            let owner = owners.get(fields.u32()? as usize);
            let &(job, job_epoch, incarnation) =
                owner.ok_or(Error::Inconsistent("nobody published a frame"))?;
            let (task, publications) = (fields.u32()?, fields.u32()?);
            let (lsn, size) = (Lsn::new(fields.u64()?), fields.u64()?);
            let (hash, thumbnail, detail) = (fields.take()?, fields.take()?, fields.take()?);
            let key = FrameKey {
                shot,
                output: output.clone(),
                view: view.clone(),
                number,
            };
            let attempt = AttemptId {
                job_epoch,
                incarnation,
                lsn,
            };
            let frame = Frame {
                job,
                task,
                attempt,
                size,
                hash,
                publications,
                thumbnail: (flags & flag::HAS_THUMBNAIL != 0).then_some(thumbnail),
                detail: (flags & flag::HAS_DETAIL != 0).then_some(detail),
            };
            frames.push((key, frame));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame() -> impl Strategy<Value = (String, String, i32, Frame)> {
        let of = (0u8..3, 0u32..3, 0u32..2, any::<u32>(), any::<u64>());
        let rest = (any::<u64>(), any::<u32>(), any::<[u8; 32]>());
        let hashes = (any::<Option<[u8; 32]>>(), any::<Option<[u8; 32]>>());
        ("[a-zä]{0,2}", "[lr]?", any::<i32>(), (of, rest, hashes)).prop_map(
            |(output, view, number, (of, rest, hashes))| {
                let (job, job_epoch, incarnation, task, lsn) = of;
                let (size, publications, hash) = rest;
                let frame = Frame {
                    job: JobId::new(uuid::Uuid::from_bytes([job; 16])),
                    task,
                    attempt: AttemptId {
                        job_epoch,
                        incarnation,
                        lsn: Lsn::new(lsn),
                    },
                    size,
                    hash,
                    publications,
                    thumbnail: hashes.0,
                    detail: hashes.1,
                };
                (output, view, number, frame)
            },
        )
    }

    proptest! {
        /// Protects every frame across a restart: what a block was written from comes back, and
        /// a block that is cut short is refused rather than read as fewer frames.
        #[test]
        fn read_as_written(rows in prop::collection::vec(frame(), 1..40), cut: prop::sample::Index) {
            let shot = ShotId::new(uuid::Uuid::from_u128(7));
            let mut frames: Vec<(FrameKey, Frame)> = (rows.into_iter())
                .map(|(output, view, number, frame)| (FrameKey { shot, output, view, number }, frame))
                .collect();
            frames.sort_by(|one, other| one.0.cmp(&other.0));
            let bytes = write(&frames);
            let mut back = Vec::new();
            read(shot, &bytes, &mut back).expect("it was just written");
            prop_assert_eq!(&back, &frames);
            let mut part = Vec::new();
            let cut = cut.index(bytes.len());
            if read(shot, &bytes[..cut], &mut part).is_ok() {
                prop_assert!(part.len() < frames.len() && frames.starts_with(&part), "between groups only");
            }
        }
    }
}
