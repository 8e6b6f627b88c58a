// SPDX-License-Identifier: GPL-3.0-or-later
//! Reading Server-Sent Events, written from the standard and not from what the Manager sends.

use axum::body::BodyDataStream;
use futures_util::StreamExt as _;
use serde_json::Value;

use super::Farm;

/// One message of an event stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    pub id: String,
    pub event: String,
    pub data: Value,
}

/// An open event stream. Dropping it cuts the connection.
pub struct Stream<'a> {
    pub(super) farm: &'a Farm,
    pub(super) body: BodyDataStream,
    pub(super) buffer: String,
}

impl Stream<'_> {
    /// The next message; waits for it.
    pub fn next(&mut self) -> Message {
        loop {
            if let Some((block, rest)) = self.buffer.split_once("\n\n") {
                let message = parse(block);
                self.buffer = rest.to_owned();
                if let Some(message) = message {
                    return message;
                }
                continue;
            }
            let more = self.farm.runtime.block_on(self.body.next());
            let more = more.expect("the stream stays open").unwrap();
            self.buffer.push_str(std::str::from_utf8(&more).unwrap());
        }
    }

    /// Messages up to and with the first one that fits.
    pub fn until(&mut self, fits: impl Fn(&Message) -> bool) -> Vec<Message> {
        let mut messages = Vec::new();
        loop {
            messages.push(self.next());
            if fits(&messages[messages.len() - 1]) {
                return messages;
            }
        }
    }
}

fn parse(block: &str) -> Option<Message> {
    let field = |name: &str| {
        let lines = block.lines().filter_map(|line| line.strip_prefix(name));
        lines.map(str::trim_start).collect::<Vec<_>>().join("\n")
    };
    let data = field("data:");
    // A comment keeps the connection alive and says nothing.
    (!data.is_empty()).then(|| Message {
        id: field("id:"),
        event: field("event:"),
        data: serde_json::from_str(&data).unwrap(),
    })
}
