// SPDX-License-Identifier: GPL-3.0-or-later
//! Names that people and machines exchange come back as they were given: ids, attempts,
//! statuses, frame ranges.

use proptest::prelude::*;
use tablao_core::{
    AttemptId, JobId, JobStatus, Lsn, TaskStatus, WorkerStatus, codec, frames::FrameRanges,
};
use uuid::Uuid;

proptest! {
    /// Protects the fence in reports: an attempt's name parses to the same attempt, and the
    /// order of attempts is that of job epoch, incarnation and position.
    #[test]
    fn attempts_go_there_and_back(parts: (u32, u32, u64), others: (u32, u32, u64)) {
        let attempt = |(job_epoch, incarnation, lsn)| AttemptId {
            job_epoch,
            incarnation,
            lsn: Lsn::new(lsn),
        };
        let (one, other) = (attempt(parts), attempt(others));
        prop_assert_eq!(one.to_string().parse::<AttemptId>().ok(), Some(one));
        prop_assert_eq!(one.cmp(&other), parts.cmp(&others));
        let longer = format!("{one}.1");
        prop_assert!(longer.parse::<AttemptId>().is_err());
        prop_assert!(one.to_string()[1..].parse::<AttemptId>().is_err());
    }

    /// Protects ids: text for people is the hyphenated form and nothing else is read, the
    /// journal holds 16 raw bytes.
    #[test]
    fn ids_go_there_and_back(number: u128) {
        let id = JobId::new(Uuid::from_u128(number));
        let text = id.to_string();
        prop_assert_eq!(text.len(), 36);
        prop_assert_eq!(text.parse::<JobId>().ok(), Some(id));
        prop_assert!(text.replace('-', "").parse::<JobId>().is_err());
        let bytes = codec::to_bytes(&id);
        prop_assert_eq!(&bytes, &id.uuid().into_bytes());
        prop_assert_eq!(codec::from_bytes::<JobId>(&bytes).ok(), Some(id));
    }

    /// Protects "which frames are missing": ranges hold exactly the numbers they were made of,
    /// and are written so that a compiled task's text gives them back.
    #[test]
    fn frame_ranges_hold_their_numbers(numbers: Vec<i8>) {
        let frames = FrameRanges::from_numbers(numbers.iter().map(|&number| number.into()));
        let expected: std::collections::BTreeSet<i8> = numbers.iter().copied().collect();
        for number in i8::MIN..=i8::MAX {
            prop_assert_eq!(frames.contains(number.into()), expected.contains(&number));
        }
        let all_positive = numbers.iter().all(|&number| number >= 0);
        if all_positive && !numbers.is_empty() {
            prop_assert_eq!(FrameRanges::parse(&frames.to_string()), Some(frames));
        }
    }
}

/// Protects the API: every status has one name, and the name is read back.
#[test]
fn statuses_go_there_and_back() {
    for &status in JobStatus::ALL {
        assert_eq!(status.to_string().parse(), Ok(status));
    }
    for &status in TaskStatus::ALL {
        assert_eq!(status.to_string().parse(), Ok(status));
    }
    for &status in WorkerStatus::ALL {
        assert_eq!(status.to_string().parse(), Ok(status));
    }
    assert!("Active".parse::<JobStatus>().is_err());
}
