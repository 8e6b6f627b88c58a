// SPDX-License-Identifier: GPL-3.0-or-later
//! One newtype per thing that has an identity.
//!
//! All are UUIDs, taken from outside where given (imports, Flamenco clients). They are text
//! for people and 16 raw bytes in the journal.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use uuid::Uuid;

use crate::codec;

macro_rules! id {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash)]
        pub struct $name(Uuid);

        // The order of the bytes, as one number: ids are the keys of nearly every map, and a
        // comparison of sixteen bytes is otherwise a call.
        impl Ord for $name {
            #[inline]
            fn cmp(&self, other: &Self) -> std::cmp::Ordering {
                self.0.as_u128().cmp(&other.0.as_u128())
            }
        }

        impl PartialOrd for $name {
            #[inline]
            fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
                Some(self.cmp(other))
            }
        }

        impl $name {
            /// Wraps a UUID that came from outside or from the shell's id source.
            pub const fn new(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The UUID itself.
            pub const fn uuid(self) -> Uuid {
                self.0
            }

            /// The first eight hex digits, for logs and tables.
            pub fn short(self) -> String {
                self.0.simple().to_string()[..8].to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0.hyphenated())
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            /// Accepts the 36-character hyphenated form only, as Flamenco's API does.
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                if text.len() != 36 {
                    // Any malformed text gives the same kind of error; let the parser word it.
                    return Err(Uuid::parse_str("not a hyphenated uuid").expect_err("it is not one"));
                }
                Uuid::parse_str(text).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    codec::raw_bytes::serialize(self.0.as_bytes(), serializer)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
                } else {
                    codec::raw_bytes::deserialize(deserializer).map(|bytes| Self(Uuid::from_bytes(bytes)))
                }
            }
        }
    )+};
}

id! {
    /// A job, the unit of submission.
    JobId,
    /// A task as the outside names it; inside a job it is its number.
    TaskId,
    /// A Worker: one registration of one machine.
    WorkerId,
    /// A Manager: one site.
    ManagerId,
    /// A worker tag, which a job may ask for.
    TagId,
    /// A shot: the group that frames belong to.
    ShotId,
    /// A project.
    ProjectId,
    /// A named user.
    UserId,
    /// A request that the Server accepted for a Manager to carry out.
    RequestId,
}

impl ShotId {
    /// The shot of a job that names none: the job is a shot of its own.
    pub const fn of_job(job: JobId) -> Self {
        Self(job.0)
    }

    /// The shot with this name in this project: the same wherever it is computed.
    pub fn named(project: &str, shot: &str) -> Self {
        Self(Uuid::new_v5(
            &Uuid::NAMESPACE_URL,
            format!("tablao:shot:{project}/{shot}").as_bytes(),
        ))
    }
}

impl ProjectId {
    /// The project with this name: the same wherever it is computed.
    pub fn named(project: &str) -> Self {
        Self(Uuid::new_v5(
            &Uuid::NAMESPACE_URL,
            format!("tablao:project:{project}").as_bytes(),
        ))
    }
}

impl UserId {
    /// The user with this claimed name, while users have no registry.
    pub fn named(user: &str) -> Self {
        Self(Uuid::new_v5(
            &Uuid::NAMESPACE_URL,
            format!("tablao:user:{user}").as_bytes(),
        ))
    }
}
