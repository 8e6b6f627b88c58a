// SPDX-License-Identifier: GPL-3.0-or-later
//! The commands of one task, written as JSON text command by command.
//!
//! A large job has hundreds of thousands of them and nobody looks into them before a Worker does,
//! so no tree is built. What is known beside the text: the steps, and the frames a
//! `blender-render` command asks for on its command line, where they can be read.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{self, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use crate::frames::FrameSet;

/// Commands so far. The keys and their order are those of [`crate::Command`].
#[derive(Default)]
pub(crate) struct CommandsText {
    text: Vec<u8>,
    pub(crate) steps_total: u32,
    pub(crate) frames: Option<String>,
    rendering_seen: bool,
}

impl CommandsText {
    /// Adds a command whose parameters `write` appends as the text of a JSON object.
    pub(crate) fn push<E>(
        &mut self,
        name: &str,
        total_step_count: u32,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        let separator: &[u8] = if self.text.is_empty() { b"[" } else { b"," };
        self.text.extend_from_slice(separator);
        self.text.extend_from_slice(b"{\"name\":");
        serde_json::to_writer(&mut self.text, name).expect("text is written to memory");
        self.text.extend_from_slice(b",\"parameters\":");
        let start = self.text.len();
        write(&mut self.text)?;
        if name == "blender-render" && !self.rendering_seen {
            self.rendering_seen = true;
            self.frames = frames_of(&self.text[start..]);
        }
        let end = format!(",\"total_step_count\":{total_step_count}}}");
        self.text.extend_from_slice(end.as_bytes());
        self.steps_total = self.steps_total.saturating_add(total_step_count.max(1));
        Ok(())
    }

    /// The text of the whole list.
    pub(crate) fn finish(mut self) -> String {
        if self.text.is_empty() {
            self.text.push(b'[');
        }
        self.text.push(b']');
        self.text.shrink_to_fit();
        String::from_utf8(self.text).expect("JSON is written as UTF-8")
    }
}

/// The frames that `args` asks for: what follows the last `--render-frame` or `-f`.
fn frames_of(parameters: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Parameters<'a> {
        #[serde(borrow)]
        args: Vec<Argument<'a>>,
    }
    let Parameters { args } = serde_json::from_slice(parameters).ok()?;
    let flag = args.iter().rposition(
        |argument| matches!(argument, Argument::Text(text) if text == "--render-frame" || text == "-f"),
    )?;
    let Argument::Text(range) = args.get(flag + 1)? else {
        return None;
    };
    Some(FrameSet::parse(range).ok()?.compact())
}

/// An argument of a command line: text or a number, which reads as its text.
enum Argument<'a> {
    Text(Cow<'a, str>),
    Other,
}

impl<'de: 'a, 'a> Deserialize<'de> for Argument<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ArgumentVisitor)
    }
}

struct ArgumentVisitor;

impl<'de> Visitor<'de> for ArgumentVisitor {
    type Value = Argument<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an argument")
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Argument::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Argument::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Argument::Text(Cow::Owned(number.to_string())))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Argument::Text(Cow::Owned(number.to_string())))
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Argument::Other)
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Argument::Other)
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(Argument::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Argument::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Argument::Other)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Command;

    /// The text reads back as exactly the commands that were put in, with their steps counted.
    #[test]
    fn reads_back() {
        let mut text = CommandsText::default();
        let parameters = json!({"a": [1, {"b": "\"ü"}]});
        for (name, count) in [("first \"x\"", 0), ("second", 4)] {
            let written: Result<(), serde_json::Error> =
                text.push(name, count, |all| serde_json::to_writer(all, &parameters));
            written.unwrap();
        }
        assert_eq!(text.steps_total, 5);
        let read: Vec<Command> = serde_json::from_str(&text.finish()).unwrap();
        let names: Vec<(&str, u32)> = read
            .iter()
            .map(|command| (command.name.as_str(), command.total_step_count))
            .collect();
        assert_eq!(names, [("first \"x\"", 0), ("second", 4)]);
        assert_eq!(json!(read[1].parameters), parameters);
        assert_eq!(CommandsText::default().finish(), "[]");
    }

    /// Arguments of any shape before the frames do not hide them, and odd ones are no frames.
    #[test]
    fn frames_among_odd_arguments() {
        let rows = [
            (
                r#"{"args":[null,true,1.5,{"a":[1]},["x"],"-f","1..3"]}"#,
                Some("1-3"),
            ),
            (r#"{"x":1,"args":["a\"b","--render-frame",7]}"#, Some("7")),
            (r#"{"args":["-f",[1]]}"#, None),
            (r#"{"args":"-f 1"}"#, None),
            (r#"{}"#, None),
        ];
        for (parameters, expected) in rows {
            assert_eq!(
                frames_of(parameters.as_bytes()).as_deref(),
                expected,
                "{parameters}"
            );
        }
    }
}
