// SPDX-License-Identifier: GPL-3.0-or-later
//! Header values of RFC 2047, as mail programs and Python write names that are not ASCII.
//!
//! UTF-8 only, as the API asks; decoding only.

use base64::Engine as _;

/// The text of a header. `None` if it is not ASCII, or an encoded word in it cannot be decoded.
pub(super) fn decode(value: &str) -> Option<String> {
    if !value.is_ascii() {
        return None;
    }
    let mut bytes = Vec::new();
    let mut rest = value;
    let mut after_word = false;
    while let Some(start) = rest.find("=?") {
        let (plain, word) = rest.split_at(start);
        // White space between two encoded words only keeps lines short.
        if !(after_word && plain.trim().is_empty()) {
            bytes.extend(plain.as_bytes());
        }
        let mut parts = word[2..].splitn(3, '?');
        let (charset, encoding, tail) = (parts.next()?, parts.next()?, parts.next()?);
        let (text, tail) = tail.split_once("?=")?;
        // A language may follow the character set.
        let charset = charset.split('*').next()?;
        if !charset.eq_ignore_ascii_case("utf-8") {
            return None;
        }
        match encoding {
            "b" | "B" => {
                let decoded = base64::engine::general_purpose::STANDARD
                    .decode(text)
                    .ok()?;
                bytes.extend(decoded);
            }
            "q" | "Q" => bytes.extend(quoted(text)?),
            _ => return None,
        }
        rest = tail;
        after_word = true;
    }
    bytes.extend(rest.as_bytes());
    // A character may begin in one word and end in the next, so this comes last.
    String::from_utf8(bytes).ok()
}

fn quoted(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut characters = text.bytes();
    while let Some(character) = characters.next() {
        bytes.push(match character {
            b'_' => b' ',
            b'=' => {
                let high = char::from(characters.next()?).to_digit(16)?;
                let low = char::from(characters.next()?).to_digit(16)?;
                u8::try_from(high << 4 | low).ok()?
            }
            other => other,
        });
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::decode;

    /// Names in any script reach the log readable, however the client encodes them.
    #[test]
    fn names_are_decoded() {
        let cases = [
            ("scene.blend", "scene.blend"),
            ("=?utf-8?b?0LTQtdGA0LXQstC+LnBuZw==?=", "дерево.png"),
            ("=?UTF-8?Q?T=C3=BCr_auf.png?=", "Tür auf.png"),
            ("=?utf-8?q?T=C3?=  =?utf-8?q?=BCr?= a", "Tür a"),
            ("=?utf-8*de?q?x?=", "x"),
        ];
        for (value, text) in cases {
            assert_eq!(decode(value).as_deref(), Some(text), "{value}");
        }
    }

    /// What cannot be decoded is refused, whatever is cut off where.
    #[test]
    fn nonsense_is_refused() {
        for value in [
            "Tür",
            "=?",
            "=?utf-8",
            "=?utf-8?b",
            "=?utf-8?b?x",
            "=?utf-8?b?%%?=",
            "=?utf-8?q?=C?=",
            "=?utf-8?q?=C3?=",
            "=?utf-8?q?=+1?=",
            "=?latin-1?q?x?=",
            "=?utf-8?x?x?=",
        ] {
            assert_eq!(decode(value), None, "{value}");
        }
    }
}
