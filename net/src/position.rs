// SPDX-License-Identifier: GPL-3.0-or-later
//! The position of a whole farm, as the outside sees it: an opaque text that compares by equality.
//!
//! A farm has one control journal and a site journal per Manager, so its position is one place in
//! each. The text names journals by the first bytes of their ids: `1a2b3c4d.1.57_9f8e7d6c.1.1234`.
//! Whether a position still holds is asked of the journals (see `whole`), not decided here.

use std::{collections::BTreeMap, fmt, str::FromStr};

use tablao_core::{Farm, Lsn};

/// How much of a journal's id its name in a position has: enough to tell a farm's own apart.
pub type JournalPrefix = [u8; 4];

/// A place in one journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The incarnation in which the record was written.
    pub incarnation: u32,
    /// The last record that is passed.
    pub lsn: Lsn,
}

/// A place in each journal of a farm.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FarmPosition {
    places: BTreeMap<JournalPrefix, Place>,
}

/// The name of a journal in positions.
pub fn prefix(journal: [u8; 16]) -> JournalPrefix {
    [journal[0], journal[1], journal[2], journal[3]]
}

impl FarmPosition {
    /// Where folds stand: the same for a live farm and for a replay of its journals.
    pub fn of<'a>(folds: impl IntoIterator<Item = ([u8; 16], &'a Farm)>) -> Self {
        let mut position = Self::default();
        for (journal, farm) in folds {
            let place = Place {
                incarnation: farm.incarnation(),
                lsn: farm.position(),
            };
            position.set(prefix(journal), place);
        }
        position
    }

    /// The place in a journal. `None`: nothing of that journal is passed.
    pub fn get(&self, journal: JournalPrefix) -> Option<Place> {
        self.places.get(&journal).copied()
    }

    /// Moves the place in one journal.
    pub fn set(&mut self, journal: JournalPrefix, place: Place) {
        self.places.insert(journal, place);
    }

    /// All places.
    pub fn places(&self) -> impl Iterator<Item = (JournalPrefix, Place)> + '_ {
        self.places
            .iter()
            .map(|(journal, place)| (*journal, *place))
    }
}

impl fmt::Display for FarmPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (count, (journal, place)) in self.places.iter().enumerate() {
            if count > 0 {
                f.write_str("_")?;
            }
            journal
                .iter()
                .try_for_each(|byte| write!(f, "{byte:02x}"))?;
            write!(f, ".{}.{}", place.incarnation, place.lsn)?;
        }
        Ok(())
    }
}

/// The text is not a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("parse a position: send back one exactly as the farm gave it")]
pub struct ParsePositionError;

impl FromStr for FarmPosition {
    type Err = ParsePositionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut position = Self::default();
        for part in text.split('_') {
            let (journal, place) = parse_part(part).ok_or(ParsePositionError)?;
            if position.places.insert(journal, place).is_some() {
                return Err(ParsePositionError);
            }
        }
        // One place has one text, so that equal texts and equal positions are the same thing.
        if position.to_string() == text {
            Ok(position)
        } else {
            Err(ParsePositionError)
        }
    }
}

fn parse_part(part: &str) -> Option<(JournalPrefix, Place)> {
    let mut fields = part.split('.');
    let journal = u32::from_str_radix(fields.next()?, 16).ok()?.to_be_bytes();
    let incarnation = fields.next()?.parse().ok()?;
    let lsn = Lsn::new(fields.next()?.parse().ok()?);
    (fields.next().is_none()).then_some((journal, Place { incarnation, lsn }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// A client sends a position back as it got it, and it must mean the same place.
        #[test]
        fn texts_parse_back(
            places in prop::collection::btree_map(any::<[u8; 4]>(), any::<(u32, u64)>(), 1..5)
        ) {
            let mut position = FarmPosition::default();
            for (journal, (incarnation, lsn)) in places {
                position.set(journal, Place { incarnation, lsn: Lsn::new(lsn) });
            }
            prop_assert_eq!(position.to_string().parse(), Ok(position));
        }
    }

    /// What the farm did not write itself is refused rather than guessed at.
    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "12",
            "1a2b3c4d.1",
            "1a2b3c4d.1.2.3",
            "1a2b3c4d.1.-2",
            "1A2B3C4D.1.2",
            "1a2b3c4d.1.02",
            "1a2b3c4d.1.2_1a2b3c4d.1.2",
            "9a2b3c4d.1.2_1a2b3c4d.1.2",
            "1a2b3c4d.1.2_",
        ] {
            assert!(text.parse::<FarmPosition>().is_err(), "{text:?}");
        }
        assert!("1a2b3c4d.1.2_9a2b3c4d.1.2".parse::<FarmPosition>().is_ok());
    }
}
