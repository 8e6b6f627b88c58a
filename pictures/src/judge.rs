// SPDX-License-Identifier: GPL-3.0-or-later
//! What files of a sequence are beside each other: black among lit ones, larger than the rest.
//!
//! A pure function of what was examined. A fade or a cut to black is no fault: only a short run
//! of black frames with lit ones on both sides of it is, or a single one at an end.

use crate::examine::{Content, Examined, Looks};

/// Something that can be wrong with a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// There is no file.
    Missing,
    /// The file has no content.
    Empty,
    /// The file breaks off, or cannot be decoded to its end.
    Truncated,
    /// It is black where its neighbours are not.
    Black,
    /// Its file is not the one that was published.
    Changed,
    /// It is wider, narrower, higher or lower than most others.
    WrongSize,
}

/// A fault with what was seen of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// What is wrong.
    pub fault: Fault,
    /// How that shows, for people.
    pub words: String,
}

/// No channel of any pixel is brighter: nothing but the noise of a compression.
const BLACK_MAX: f32 = 0.02;
/// A frame this bright on the mean is lit.
const LIT_MIN: f32 = 0.02;
/// More black frames in a row are a part of the film.
const RUN_MAX: usize = 8;

fn found(fault: Fault, words: impl Into<String>) -> Found {
    let words = words.into();
    Found { fault, words }
}

fn looks(examined: &Option<Examined>) -> Option<&Looks> {
    match &examined.as_ref()?.content {
        Content::Whole(looks) => Some(looks),
        Content::Empty | Content::Broken(_) | Content::Unread => None,
    }
}

/// Judges files of one output and view in the order of their frame numbers; nothing stands for
/// a file that is not there. Gives what is wrong with each.
pub fn judge(sequence: &[Option<Examined>]) -> Vec<Vec<Found>> {
    let mut faults: Vec<Vec<Found>> = sequence.iter().map(alone).collect();
    black(sequence, &mut faults);
    wrong_size(sequence, &mut faults);
    faults
}

/// What is wrong with a file whatever its neighbours are.
fn alone(examined: &Option<Examined>) -> Vec<Found> {
    let Some(examined) = examined else {
        return vec![found(Fault::Missing, "there is no file of its name")];
    };
    match &examined.content {
        Content::Empty => vec![found(Fault::Empty, "its file is empty")],
        Content::Broken(why) => vec![found(
            Fault::Truncated,
            format!("{why} ({} bytes)", examined.size),
        )],
        Content::Whole(_) | Content::Unread => Vec::new(),
    }
}

fn black(sequence: &[Option<Examined>], faults: &mut [Vec<Found>]) {
    // Files that cannot be looked at say nothing about their neighbours.
    let seen: Vec<(usize, &Looks)> = (sequence.iter().enumerate())
        .filter_map(|(place, examined)| Some((place, looks(examined)?)))
        .collect();
    let is_black = |looks: &Looks| looks.brightest <= BLACK_MAX;
    let mut from = 0;
    while from < seen.len() {
        if !is_black(seen[from].1) {
            from += 1;
            continue;
        }
        let run = (seen[from..].iter())
            .take_while(|(_, looks)| is_black(looks))
            .count();
        let lit = |looks: &Looks| (looks.luminance >= LIT_MIN).then_some(looks.luminance);
        let before = from.checked_sub(1).map(|place| lit(seen[place].1));
        let after = seen.get(from + run).map(|(_, looks)| lit(looks));
        let lit_beside = match (before, after) {
            (Some(Some(before)), Some(Some(after))) if run <= RUN_MAX => Some(before.min(after)),
            (Some(Some(beside)), None) | (None, Some(Some(beside))) if run == 1 => Some(beside),
            _ => None,
        };
        if let Some(beside) = lit_beside {
            for (place, looks) in &seen[from..from + run] {
                faults[*place].push(found(
                    Fault::Black,
                    format!(
                        "it is black: mean luminance {:.3}, beside it {beside:.3}",
                        looks.luminance
                    ),
                ));
            }
        }
        from += run;
    }
}

fn wrong_size(sequence: &[Option<Examined>], faults: &mut [Vec<Found>]) {
    let sizes: Vec<(usize, (u32, u32))> = (sequence.iter().enumerate())
        .filter_map(|(place, examined)| {
            let looks = looks(examined)?;
            Some((place, (looks.width, looks.height)))
        })
        .collect();
    let mut sorted: Vec<(u32, u32)> = sizes.iter().map(|(_, size)| *size).collect();
    sorted.sort_unstable();
    // What more than half of them share is what stands in the middle of them.
    let Some(&usual) = sorted.get(sorted.len() / 2) else {
        return;
    };
    let shared = sorted.iter().filter(|size| **size == usual).count();
    if shared * 2 <= sorted.len() {
        return;
    }
    for (place, size) in sizes.into_iter().filter(|(_, size)| *size != usual) {
        let words = format!(
            "it is {} x {} pixels, most others are {} x {}",
            size.0, size.1, usual.0, usual.1
        );
        faults[place].push(found(Fault::WrongSize, words));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lit(luminance: f32) -> Option<Examined> {
        sized(luminance, 16)
    }

    fn sized(luminance: f32, width: u32) -> Option<Examined> {
        let looks = Looks {
            width,
            height: 16,
            luminance,
            brightest: luminance,
        };
        of(Content::Whole(looks))
    }

    fn of(content: Content) -> Option<Examined> {
        Some(Examined {
            size: 7,
            hash: [1; 32],
            content,
        })
    }

    fn faults(sequence: &[Option<Examined>]) -> Vec<Vec<Fault>> {
        let judged = judge(sequence).into_iter();
        judged
            .map(|found| found.into_iter().map(|found| found.fault).collect())
            .collect()
    }

    #[test]
    fn each_fault_is_found_and_nothing_else() {
        // Protects both sides: a bad frame in a film is seen, and the good ones stay good.
        let sequence = [
            lit(0.4),
            None,
            of(Content::Empty),
            of(Content::Broken("it breaks off".into())),
            lit(0.0),
            lit(0.5),
            sized(0.5, 8),
            of(Content::Unread),
            lit(0.3),
        ];
        let expected: [&[Fault]; 9] = [
            &[],
            &[Fault::Missing],
            &[Fault::Empty],
            &[Fault::Truncated],
            &[Fault::Black],
            &[],
            &[Fault::WrongSize],
            &[],
            &[],
        ];
        assert_eq!(faults(&sequence), expected);
    }

    #[test]
    fn a_film_may_be_dark() {
        // Protects fades, cuts to black and night scenes from being rendered again for ever.
        let rows: [(&str, Vec<f32>, Vec<usize>); 7] = [
            ("a night", vec![0.0; 5], vec![]),
            ("fade in", vec![0.0, 0.005, 0.1, 0.3], vec![]),
            ("fade out", vec![0.3, 0.1, 0.01, 0.0, 0.0], vec![]),
            ("cut to black", vec![0.3, 0.3, 0.0, 0.0], vec![]),
            ("one in the middle", vec![0.3, 0.0, 0.3], vec![1]),
            ("two in the middle", vec![0.3, 0.0, 0.0, 0.3], vec![1, 2]),
            ("the last", vec![0.3, 0.3, 0.0], vec![2]),
        ];
        for (name, luminances, expected) in rows {
            let sequence: Vec<_> = luminances.into_iter().map(lit).collect();
            let black: Vec<usize> = (faults(&sequence).iter().enumerate())
                .filter_map(|(place, faults)| faults.contains(&Fault::Black).then_some(place))
                .collect();
            assert_eq!(black, expected, "{name}");
        }
        let mut long = vec![lit(0.3)];
        long.extend(vec![lit(0.0); RUN_MAX + 1]);
        long.push(lit(0.3));
        assert!(faults(&long).iter().all(Vec::is_empty), "a black scene");
    }
}
