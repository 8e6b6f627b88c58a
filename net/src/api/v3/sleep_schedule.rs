// SPDX-License-Identifier: GPL-3.0-or-later
//! Sleep schedules of workers, in Flamenco's shape.
//!
//! Flamenco knows no time zone; ours goes along in a field of its own, `time_zone`, that its
//! clients neither send nor read.

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::json;
use tablao_core::{Refusal, Request, entity::SleepSchedule, sleep::NOT_SAID};

use super::{
    Body, Problem,
    worker_mgt::{change, site_of, worker_id},
};
use crate::{api::actor::Sender, engine::local_clock::ZoneClock, node::SharedNode};

/// Monday first, as the bits of a schedule's days are.
const DAYS: [&str; 7] = ["mo", "tu", "we", "th", "fr", "sa", "su"];

fn days_text(days: u8) -> String {
    let listed = (0..).zip(DAYS).filter(|(bit, _)| days & (1 << bit) != 0);
    listed.map(|(_, name)| name).collect::<Vec<_>>().join(" ")
}

/// Days by their first two letters, in any case and order; whatever follows is not looked at.
fn days(text: &str) -> Result<u8, Problem> {
    let words = text
        .split(|c: char| c.is_whitespace() || c == ',')
        .filter(|word| !word.is_empty());
    words.into_iter().try_fold(0, |days, word| {
        let lower = word.to_lowercase();
        let bit = DAYS
            .iter()
            .position(|day| lower.starts_with(day))
            .ok_or_else(|| {
                Problem::bad_request(format!(
                    "{word:?} is no day: name days as mo tu we th fr sa su"
                ))
            })?;
        Ok(days | 1 << bit)
    })
}

fn time_text(minute: u16) -> String {
    match minute {
        NOT_SAID => String::new(),
        minute => format!("{:02}:{:02}", minute / 60, minute % 60),
    }
}

/// `HH:MM` from 00:00 to 23:59, or nothing.
fn time(text: &str) -> Result<u16, Problem> {
    if text.is_empty() {
        return Ok(NOT_SAID);
    }
    let number = |part: &str, digits: &[usize], below: u16| {
        let all = part.bytes().all(|byte| byte.is_ascii_digit());
        let value = (all && digits.contains(&part.len())).then(|| part.parse::<u16>().ok());
        value.flatten().filter(|value| *value < below)
    };
    text.split_once(':')
        .and_then(|(hour, minute)| Some((number(hour, &[1, 2], 24)?, number(minute, &[2], 60)?)))
        .map(|(hour, minute)| hour * 60 + minute)
        .ok_or_else(|| {
            Problem::bad_request(format!(
                "{text:?} is no time of day: write it as HH:MM, or leave it empty"
            ))
        })
}

pub(super) async fn show(
    State(node): State<SharedNode>,
    Path(worker): Path<String>,
) -> Result<Response, Problem> {
    let id = worker_id(&worker)?;
    let view = site_of(&node, id)?;
    let model = view.read();
    let worker = (model
        .farm()
        .workers()
        .get(&id)
        .filter(|worker| !worker.deleted))
    .ok_or(Refusal::UnknownWorker { worker: id })?;
    let Some(schedule) = &worker.schedule else {
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    let mut body = json!({
        "is_active": schedule.active,
        "days_of_week": days_text(schedule.days),
        "start_time": time_text(schedule.start_minute),
        "end_time": time_text(schedule.end_minute),
    });
    if !schedule.time_zone.is_empty() {
        body["time_zone"] = json!(schedule.time_zone);
    }
    Ok(Json(body).into_response())
}

#[derive(Deserialize)]
pub(super) struct ScheduleBody {
    is_active: bool,
    days_of_week: String,
    start_time: String,
    end_time: String,
    #[serde(default)]
    time_zone: String,
}

pub(super) async fn set(
    State(node): State<SharedNode>,
    sender: Sender,
    Path(worker): Path<String>,
    Body(body): Body<ScheduleBody>,
) -> Result<StatusCode, Problem> {
    let worker = worker_id(&worker)?;
    if ZoneClock::of(&body.time_zone).is_none() {
        let message = format!(
            "no time zone is named {:?}: name one as Europe/Amsterdam, or leave it out for the Manager's own",
            body.time_zone
        );
        return Err(Problem::bad_request(message));
    }
    let schedule = SleepSchedule {
        active: body.is_active,
        time_zone: body.time_zone,
        days: days(&body.days_of_week)?,
        start_minute: time(&body.start_time)?,
        end_minute: time(&body.end_time)?,
    };
    let schedule = Some(schedule);
    change(
        &node,
        sender,
        Request::SetWorkerSchedule { worker, schedule },
    )
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Protects what a studio writes: every form that is a time or a list of days is taken, and
    /// what is none is refused instead of meaning something.
    #[test]
    fn times_and_days_as_written() {
        for (text, minute) in [("", NOT_SAID), ("00:00", 0), ("9:05", 545), ("23:59", 1439)] {
            assert_eq!(time(text).unwrap(), minute, "{text}");
        }
        for text in [
            "24:00", "12:60", "12", "12:5", "-1:00", "+1:00", " 1:00", "12:00:00", "noon", ":",
        ] {
            assert!(time(text).is_err(), "{text}");
        }
        for (text, bits, shown) in [
            ("", 0, ""),
            ("mo tu", 0b11, "mo tu"),
            ("Sunday,  MO", 0b100_0001, "mo su"),
            ("fr fr", 0b1_0000, "fr"),
        ] {
            assert_eq!(days(text).unwrap(), bits, "{text}");
            assert_eq!(days_text(bits), shown);
        }
        for text in ["m", "xx", "mo, x"] {
            assert!(days(text).is_err(), "{text}");
        }
    }
}
