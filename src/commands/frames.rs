// SPDX-License-Identifier: GPL-3.0-or-later
//! `tablao frames`: look at frames, have their files looked at, and have bad ones rendered anew.

use clap::{Args, Subcommand};
use serde_json::json;

use super::listing::{Client, Listing, OfJob, filters};
use crate::{
    client,
    exit::{Code, Exit},
    output::{self, Column},
};

const FRAME_COLUMNS: &[Column] = &[
    ("NUMBER", "/number"),
    ("RENDERED", "/rendered_at"),
    ("MS", "/render_ms"),
    ("BYTES", "/size"),
    ("WORKER", "/worker/name"),
    ("FLAGS", "/flags"),
    ("PATH", "/path"),
];

const FLAWED_COLUMNS: &[Column] = &[
    ("NUMBER", "/number"),
    ("FLAGS", "/flags"),
    ("WHY", "/words"),
];

/// Look at published frames, have their files looked at, and have bad ones rendered anew.
///
/// Example: tablao frames verify --job JOB && tablao frames rerender --flagged --job JOB
#[derive(Args)]
pub(crate) struct Frames {
    #[command(subcommand)]
    verb: FramesVerb,
    #[command(flatten)]
    client: Client,
}

#[derive(Subcommand)]
enum FramesVerb {
    /// List published frames by shot and number.
    List {
        /// Only this job's.
        #[arg(long, value_name = "JOB")]
        job: Option<String>,
        /// Only this task's.
        #[arg(long, value_name = "TASK")]
        task: Option<String>,
        /// Only with one of these flags, separated by commas; `any`: with something wrong.
        #[arg(long, value_name = "FLAG")]
        flag: Option<String>,
        #[command(flatten)]
        of_job: OfJob,
        /// The last rendered first.
        #[arg(long)]
        newest: bool,
        #[command(flatten)]
        listing: Listing,
    },
    /// Read the files of frames and compare them with what was published and with each other.
    /// Ends 3 where something is wrong with a frame.
    Verify {
        #[command(flatten)]
        of: Of,
    },
    /// Have frames rendered anew: their tasks are queued again and render these frames only. A
    /// file that makes way is kept in `.tablao-replaced` beside the frames.
    Rerender {
        #[command(flatten)]
        of: Of,
        /// All frames that something is wrong with.
        #[arg(long, required_unless_present = "frames")]
        flagged: bool,
        /// Of the flagged ones, only those with one of these flags, separated by commas.
        #[arg(long, value_name = "FLAG", value_delimiter = ',', requires = "flagged")]
        flag: Vec<String>,
        /// The frames of these numbers, such as 1-10,12.
        #[arg(long, value_name = "FRAMES", conflicts_with = "flagged")]
        frames: Option<String>,
        /// And queue again what depends on them, such as the film that is made of them.
        #[arg(long)]
        with_dependants: bool,
        /// Why, for the history.
        #[arg(long, value_name = "WORDS", default_value = "")]
        reason: String,
    },
}

/// Whose frames.
#[derive(Args)]
#[group(required = true, multiple = false)]
struct Of {
    /// Frames of this job.
    #[arg(long, value_name = "JOB")]
    job: Option<String>,
    /// Frames of this shot.
    #[arg(long, value_name = "SHOT")]
    shot: Option<String>,
}

impl Of {
    /// Where to ask for something to be done with them.
    fn path(&self, what: &str) -> String {
        match (&self.job, &self.shot) {
            (Some(job), _) => format!("/api/farm/v1/jobs/{job}/{what}"),
            (None, shot) => {
                let shot = shot.as_deref().unwrap_or_default();
                format!("/api/farm/v1/shots/{shot}/{what}")
            }
        }
    }
}

impl Frames {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let client = self.client;
        client::block_on(async {
            match self.verb {
                FramesVerb::List {
                    job,
                    task,
                    flag,
                    of_job,
                    newest,
                    listing,
                } => {
                    let mut filters = filters([
                        ("job", job),
                        ("task", task),
                        ("flag", flag),
                        ("order", newest.then(|| "newest".to_owned())),
                    ]);
                    of_job.add_to(&mut filters);
                    let path = "/api/farm/v1/frames";
                    client.list(path, filters, &listing, FRAME_COLUMNS).await
                }
                FramesVerb::Verify { of } => verify(&client, &of).await,
                FramesVerb::Rerender {
                    of,
                    flagged: _,
                    flag,
                    frames,
                    with_dependants,
                    reason,
                } => {
                    let frames = frames.as_deref().map(numbers).transpose()?;
                    let body = json!({
                        "frames": frames.unwrap_or_default(),
                        "flags": flag,
                        "dependants": with_dependants,
                        "reason": reason,
                    });
                    let answer = client.farm()?.post(&of.path("rerender"), &body).await?;
                    let count = |what: &str| answer[what].as_array().map_or(0, Vec::len);
                    client.say(&answer, || match count("frames") {
                        0 => "No frame is to be rendered anew.".to_owned(),
                        frames => format!(
                            "Frames rendered anew: {frames}. Tasks that render them: {}. Tasks that run again behind these: {}.",
                            count("tasks"),
                            count("dependants")
                        ),
                    })
                }
            }
        })
    }
}

/// Has files looked at to the end, however long that takes.
async fn verify(client: &Client, of: &Of) -> anyhow::Result<()> {
    let farm = client.farm()?;
    let answer = loop {
        // A short wait each time: whoever asks again is told of the same look.
        let path = format!("{}?wait=20", of.path("verify"));
        let answer = farm.post(&path, &json!({})).await?;
        if answer["state"] == "done" {
            break answer;
        }
        if !client.json {
            eprintln!("{} of {} files", answer["looked_at"], answer["of"]);
        }
    };
    if client.json {
        output::json(&answer)?;
    } else {
        let frames = answer["frames"].as_array().map_or(&[][..], Vec::as_slice);
        if !frames.is_empty() {
            output::table(FLAWED_COLUMNS, frames)?;
        }
        if let Some(why) = answer["unseen_why"].as_str() {
            eprintln!("{} frames are not seen there: {why}", answer["unseen"]);
        }
        output::line(&format!(
            "{} of {} frames that were looked at have something wrong with them.",
            answer["flawed"], answer["looked_at"]
        ))?;
    }
    match answer["flawed"].as_u64() {
        Some(0) | None => Ok(()),
        Some(_) => Err(Exit::new(Code::Damage, "something is wrong with some frames").into()),
    }
}

/// Numbers out of `1-10,12`.
fn numbers(text: &str) -> anyhow::Result<Vec<i64>> {
    /// More in one request are a mistake.
    const NUMBERS_MAX: usize = 100_000;
    let unsound = || {
        let words = format!("{text:?} is no list of frames; it looks like 1-10,12");
        Exit::new(Code::Usage, words)
    };
    let mut numbers = Vec::new();
    for part in text.split(',') {
        // The first character may be a minus.
        let dash = part.char_indices().skip(1).find(|(_, dash)| *dash == '-');
        let (first, last) = match dash {
            Some((at, _)) => (&part[..at], &part[at + 1..]),
            None => (part, part),
        };
        let first: i32 = first.trim().parse().map_err(|_| unsound())?;
        let last: i32 = last.trim().parse().map_err(|_| unsound())?;
        let many = i64::from(last) - i64::from(first);
        if many < 0 || numbers.len() + usize::try_from(many)? > NUMBERS_MAX {
            return Err(unsound().into());
        }
        numbers.extend((first..=last).map(i64::from));
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_as_people_write_them() {
        // Protects good frames: nobody renders others than those that were meant.
        assert_eq!(numbers("1-3,7").unwrap(), [1, 2, 3, 7]);
        assert_eq!(numbers("-2--1, 5").unwrap(), [-2, -1, 5]);
        for text in ["", "1..3", "3-1", "a", "1,,2", "0-2000000"] {
            assert!(numbers(text).is_err(), "{text}");
        }
    }
}
