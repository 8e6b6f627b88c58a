// SPDX-License-Identifier: GPL-3.0-or-later
//! The table of event kinds: number, version, shape of the detail, and what the digest sees.
//!
//! Numbers are append-only and never reused. The table is also the documentation: each row
//! says since when a kind exists. docs/events.md lists them for readers of journals.

use crate::event::{
    AttemptAssigned, AttemptEnded, AttemptStarted, AttemptStopRequested, BaselineTaken,
    ConfigApplied, ConfigNoted, Decision, DetailErased, FailuresCleared, FrameFlagged,
    FramePublished, FrameSkipped, FramesVerified, FramesWanted, JobAbandoned, JobAccepted,
    JobDeleteMarked, JobEpochRaised, JobHeld, JobImported, JobPlaced, JobPriorityChanged,
    JobPurged, JobReady, JobRegenerated, JobReleased, JobRestored, JobStatusChanged, JobTagChanged,
    JournalOpened, LateReportNoted, LinkedToServer, ManagerLinked, ManagerRevoked, OriginAdvanced,
    OutputsDiscarded, RequestAccepted, RequestSettled, StepsAdvanced, TagChanged, TagCreated,
    TagDeleted, TaskOutgrew, TaskPriorityChanged, TasksAdded, TasksChanged, TasksPrepared,
    TermStarted, ThumbnailStored, WorkerBlocked, WorkerDeleted, WorkerLost, WorkerMemorySet,
    WorkerQuarantineLifted, WorkerQuarantined, WorkerRegistered, WorkerScheduleSet, WorkerSignedOn,
    WorkerStatusChanged, WorkerStatusRequestCleared, WorkerStatusRequested, WorkerTagsSet,
    WorkerUnblocked,
};

/// The shape of a kind's detail part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DetailShape {
    /// No detail.
    None,
    /// [`crate::detail::DecisionDetail`].
    Decision,
    /// [`crate::detail::JobDetail`].
    Job,
    /// [`crate::detail::TasksDetail`].
    Tasks,
    /// [`crate::detail::ReasonDetail`].
    Reason,
    /// [`crate::detail::WorkerDetail`].
    Worker,
    /// [`crate::detail::FrameDetail`].
    Frame,
    /// [`crate::detail::NamedDetail`].
    Named,
}

/// Whether applying an event of this kind changes the digest of the farm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DigestRole {
    /// It always does.
    Changes,
    /// It is history only: it says what was asked, or that something changed nothing.
    History,
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// Number in the record header, without the skip bit.
    pub number: u16,
    /// Present version of the facts' shape.
    pub version: u8,
    /// Name in the API.
    pub name: &'static str,
    /// Shape of the details.
    pub detail: DetailShape,
    /// What the digest sees.
    pub digest: DigestRole,
}

macro_rules! kinds {
    ($($number:literal v $version:literal $name:ident $shape:ident $role:ident),+ $(,)?) => {
        /// Every event kind that this build knows.
        pub const KINDS: &[Kind] = &[$(Kind {
            number: $number,
            version: $version,
            name: stringify!($name),
            detail: DetailShape::$shape,
            digest: DigestRole::$role,
        }),+];

        /// An immutable fact.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Event {
            $(
                #[doc = concat!("Kind ", stringify!($number), ", version ", stringify!($version), ".")]
                $name($name)
            ),+
        }

        $(impl From<$name> for Event {
            fn from(facts: $name) -> Self {
                Self::$name(facts)
            }
        })+

        impl Event {
            /// Its row in the table.
            pub fn kind(&self) -> &'static Kind {
                let number = match self {
                    $(Self::$name(_) => $number),+
                };
                kind_of(number).expect("every variant stands in the table")
            }

            /// The facts part as bytes.
            pub fn encode_facts(&self) -> Vec<u8> {
                match self {
                    $(Self::$name(facts) => crate::codec::to_bytes(facts)),+
                }
            }

            /// Reads the facts part of a record of this kind and version.
            pub fn decode_facts(number: u16, version: u8, bytes: &[u8]) -> Result<Self, crate::codec::Error> {
                match (number, version) {
                    $(($number, $version) => crate::codec::from_bytes(bytes).map(Self::$name),)+
                    _ if kind_of(number).is_some() => Err(crate::codec::Error::UnknownVersion { kind: number, version }),
                    _ => Err(crate::codec::Error::UnknownKind { kind: number }),
                }
            }

            /// The facts as JSON-like values for people, through any serde serialiser.
            pub fn serialize_facts<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self {
                    $(Self::$name(facts) => serde::Serialize::serialize(facts, serializer)),+
                }
            }
        }
    };
}

kinds! {
    1 v 1 Decision Decision History,
    2 v 1 JournalOpened None Changes,
    3 v 1 ConfigApplied Named Changes,
    4 v 1 BaselineTaken None History,
    5 v 1 DetailErased Reason History,
    6 v 1 ConfigNoted Named History,

    10 v 1 JobAccepted Job Changes,
    11 v 1 TasksAdded Tasks Changes,
    12 v 1 JobReady None Changes,
    13 v 1 JobAbandoned Reason Changes,
    14 v 1 JobStatusChanged Reason Changes,
    15 v 1 JobPriorityChanged None Changes,
    16 v 1 JobTagChanged None Changes,
    17 v 1 JobHeld Reason Changes,
    18 v 1 JobReleased None Changes,
    19 v 1 JobDeleteMarked None Changes,
    20 v 1 JobRestored None Changes,
    21 v 1 JobPurged None Changes,
    22 v 1 JobEpochRaised None Changes,
    23 v 1 JobRegenerated Job Changes,
    24 v 1 TasksPrepared Tasks Changes,
    25 v 1 JobImported Reason Changes,

    30 v 1 TasksChanged Reason Changes,
    31 v 1 TaskPriorityChanged None Changes,
    32 v 1 AttemptAssigned None Changes,
    33 v 1 AttemptStarted None Changes,
    34 v 1 StepsAdvanced None Changes,
    35 v 1 AttemptStopRequested Reason Changes,
    36 v 1 AttemptEnded Reason Changes,
    37 v 1 LateReportNoted Reason History,
    38 v 1 WorkerBlocked Reason Changes,
    39 v 1 WorkerUnblocked None Changes,
    40 v 1 FailuresCleared None Changes,
    41 v 1 OutputsDiscarded Reason Changes,
    42 v 1 TaskOutgrew Reason Changes,

    50 v 1 FramePublished Frame Changes,
    51 v 1 FrameSkipped None History,
    52 v 1 ThumbnailStored Named Changes,
    53 v 1 FrameFlagged Reason Changes,
    54 v 1 FramesWanted Reason Changes,
    55 v 1 FramesVerified None History,

    60 v 1 WorkerRegistered Worker Changes,
    61 v 1 WorkerSignedOn Worker Changes,
    62 v 1 WorkerStatusChanged Reason Changes,
    63 v 1 WorkerStatusRequested Reason Changes,
    64 v 1 WorkerStatusRequestCleared None Changes,
    65 v 1 WorkerTagsSet None Changes,
    66 v 1 WorkerScheduleSet None Changes,
    67 v 1 WorkerLost Reason Changes,
    68 v 1 WorkerDeleted Reason Changes,
    69 v 1 WorkerQuarantined Reason Changes,
    70 v 1 TagCreated Named Changes,
    71 v 1 TagChanged Named Changes,
    72 v 1 TagDeleted None Changes,
    73 v 1 WorkerQuarantineLifted Reason Changes,
    74 v 1 WorkerMemorySet None Changes,

    80 v 1 ManagerLinked Named Changes,
    81 v 1 ManagerRevoked Reason Changes,
    82 v 1 JobPlaced Named Changes,
    83 v 1 RequestAccepted Reason Changes,
    84 v 1 RequestSettled Reason Changes,
    85 v 1 OriginAdvanced None Changes,
    86 v 1 TermStarted None Changes,
    87 v 1 LinkedToServer Named Changes,
}

/// The row with this number.
pub fn kind_of(number: u16) -> Option<&'static Kind> {
    KINDS
        .binary_search_by_key(&number, |kind| kind.number)
        .ok()
        .map(|position| &KINDS[position])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers are unique and ascending, so that a lookup finds them and none is reused.
    #[test]
    fn numbers_are_unique_and_ascending() {
        assert!(KINDS.windows(2).all(|pair| pair[0].number < pair[1].number));
        assert!(
            KINDS.iter().all(|kind| kind.number < 0x8000),
            "the top bit is the skip bit"
        );
    }
}
