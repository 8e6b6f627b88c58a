// SPDX-License-Identifier: GPL-3.0-or-later
//! Cuts the output of a process into lines of bounded length.
//!
//! A process may print a megabyte without a line break or bytes that are no UTF-8; neither may
//! cost memory or stop the reading. What a line means is not known here.

/// Longest piece handed on. Longer lines are cut at the last character boundary before it.
pub(crate) const LINE_BYTES_MAX: usize = 40 * 1024;

/// Collects bytes until a line, or a piece of one, is complete.
#[derive(Debug, Default)]
pub(crate) struct LineSplitter {
    /// Invariant: shorter than `LINE_BYTES_MAX` and without a line break.
    partial: Vec<u8>,
}

impl LineSplitter {
    /// Takes bytes as they were read and emits each line that they complete.
    pub(crate) fn push(&mut self, mut bytes: &[u8], emit: &mut impl FnMut(&str)) {
        while !bytes.is_empty() {
            let room = LINE_BYTES_MAX - self.partial.len();
            let window = &bytes[..bytes.len().min(room)];
            if let Some(end) = window.iter().position(|byte| *byte == b'\n') {
                self.partial.extend_from_slice(&window[..end]);
                bytes = &bytes[end + 1..];
                self.emit_all(emit);
            } else {
                self.partial.extend_from_slice(window);
                bytes = &bytes[window.len()..];
                if self.partial.len() == LINE_BYTES_MAX {
                    let rest = self.partial.split_off(complete_utf8(&self.partial));
                    self.emit_all(emit);
                    self.partial = rest;
                }
            }
        }
    }

    /// Emits what came after the last line break, at the end of the output.
    pub(crate) fn finish(&mut self, emit: &mut impl FnMut(&str)) {
        if !self.partial.is_empty() {
            self.emit_all(emit);
        }
    }

    fn emit_all(&mut self, emit: &mut impl FnMut(&str)) {
        let line = match self.partial.last() {
            Some(b'\r') => &self.partial[..self.partial.len() - 1],
            Some(_) | None => &self.partial[..],
        };
        emit(&String::from_utf8_lossy(line));
        self.partial.clear();
    }
}

/// How many of the bytes can be shown without cutting a character in two.
///
/// Bytes that cannot become valid by waiting count as complete: they are shown lossily.
pub(crate) fn complete_utf8(bytes: &[u8]) -> usize {
    // A character has at most four bytes, so only the last three can be an unfinished one.
    for back in 1..=bytes.len().min(3) {
        let start = bytes.len() - back;
        let width = match bytes[start] {
            0xC2..=0xDF => 2,
            0xE0..=0xEF => 3,
            0xF0..=0xF4 => 4,
            0x80..=0xBF => continue,
            _ => 1,
        };
        return if back < width { start } else { bytes.len() };
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(chunks: &[&[u8]]) -> Vec<String> {
        let mut splitter = LineSplitter::default();
        let mut lines = Vec::new();
        let mut emit = |line: &str| lines.push(line.to_owned());
        for chunk in chunks {
            splitter.push(chunk, &mut emit);
        }
        splitter.finish(&mut emit);
        lines
    }

    #[test]
    fn utf8_is_cut_between_characters() {
        // Protects names with umlauts and emoji at the cut: the reference's table.
        let table: [(&[u8], usize); 8] = [
            (b"", 0),
            (b"ascii", 5),
            ("Stüvel".as_bytes(), 7),
            ("😀".as_bytes(), 4),
            (&"a😀".as_bytes()[..4], 1),
            (&"a😀".as_bytes()[..3], 1),
            (&"a😀".as_bytes()[..2], 1),
            (b"a\xFF", 2),
        ];
        for (bytes, expected) in table {
            assert_eq!(complete_utf8(bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn lines_come_whole_whatever_the_reads_were() {
        // Protects recognition of Blender's lines, which may arrive in any pieces.
        assert_eq!(
            lines(&[b"one\ntw", b"o\r\n", b"\nend"]),
            ["one", "two", "", "end"]
        );
        assert_eq!(lines(&[b"\xFF\xFEx\n"]), ["\u{FFFD}\u{FFFD}x"]);
    }

    #[test]
    fn a_mebibyte_without_a_break_comes_in_bounded_pieces() {
        // Protects the Worker's memory: no piece is longer than the limit, and none is lost.
        let text = "ü".repeat(512 * 1024);
        let pieces = lines(&[text.as_bytes()]);
        assert!(pieces.iter().all(|piece| piece.len() <= LINE_BYTES_MAX));
        assert!(pieces.len() > 20);
        assert_eq!(pieces.concat(), text);
    }

    proptest! {
        /// How the bytes were read must not change the lines.
        #[test]
        fn reads_do_not_matter(text in "[a-zäß😀\n]{0,200}", cut in 0usize..200) {
            let bytes = text.as_bytes();
            let cut = cut.min(bytes.len());
            prop_assert_eq!(lines(&[&bytes[..cut], &bytes[cut..]]), lines(&[bytes]));
        }
    }
}
