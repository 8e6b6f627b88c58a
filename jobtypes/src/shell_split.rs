// SPDX-License-Identifier: GPL-3.0-or-later
//! Splitting a command line into words the way `shellSplit()` promises its scripts.
//!
//! Quotes, backslashes and comments only: no variables, globbing or pipes, and nothing is run.
//! Our own small lexer, because in double quotes a backslash escapes *any* character here,
//! which is not what a POSIX shell does.

use std::str::Chars;

use thiserror::Error;

/// Why a text could not be split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ShellSplitError {
    /// A quote was opened and never closed.
    #[error("closing quote {0} is missing")]
    UnterminatedQuote(char),
    /// The text ends in a backslash that escapes nothing.
    #[error("nothing follows the last backslash")]
    TrailingBackslash,
}

/// Splits `text` into words.
pub fn shell_split(text: &str) -> Result<Vec<String>, ShellSplitError> {
    let mut words = Vec::new();
    // `None` between words; `Some("")` is an empty quoted word in the making.
    let mut word: Option<String> = None;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            ' ' | '\t' | '\r' | '\n' => words.extend(word.take()),
            '#' if word.is_none() => skip_comment(&mut characters),
            '\'' => read_literal(&mut characters, word.get_or_insert_default())?,
            '"' => read_escaped(&mut characters, word.get_or_insert_default())?,
            '\\' => {
                let escaped = characters
                    .next()
                    .ok_or(ShellSplitError::TrailingBackslash)?;
                word.get_or_insert_default().push(escaped);
            }
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    Ok(words)
}

fn skip_comment(characters: &mut Chars<'_>) {
    for character in characters {
        if character == '\n' {
            break;
        }
    }
}

fn read_literal(characters: &mut Chars<'_>, word: &mut String) -> Result<(), ShellSplitError> {
    for character in characters {
        if character == '\'' {
            return Ok(());
        }
        word.push(character);
    }
    Err(ShellSplitError::UnterminatedQuote('\''))
}

fn read_escaped(characters: &mut Chars<'_>, word: &mut String) -> Result<(), ShellSplitError> {
    while let Some(character) = characters.next() {
        match character {
            '"' => return Ok(()),
            '\\' => {
                let escaped = characters
                    .next()
                    .ok_or(ShellSplitError::TrailingBackslash)?;
                word.push(escaped);
            }
            other => word.push(other),
        }
    }
    Err(ShellSplitError::UnterminatedQuote('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words come out as scripts and Workers expect them.
    #[test]
    fn word_table() {
        let rows: &[(&str, &[&str])] = &[
            ("", &[]),
            (" \t\r\n ", &[]),
            (
                "--python-expr 'print(1 + 1)'",
                &["--python-expr", "print(1 + 1)"],
            ),
            ("a\tb\rc\nd", &["a", "b", "c", "d"]),
            (r#""a \" b" c"#, &[r#"a " b"#, "c"]),
            (r#""a\nb""#, &["anb"]),
            (r"'a\b'", &[r"a\b"]),
            (r"C:\dir\file", &["C:dirfile"]),
            (r"a\ b", &["a b"]),
            ("# all comment", &[]),
            ("a # comment\nb", &["a", "b"]),
            ("a#b '#c'", &["a#b", "#c"]),
            (r#"a"b"'c'd"#, &["abcd"]),
            (r#"'' """#, &["", ""]),
            ("$HOME *.blend | x", &["$HOME", "*.blend", "|", "x"]),
        ];
        for (text, expected) in rows {
            assert_eq!(shell_split(text).unwrap(), *expected, "{text:?}");
        }
    }

    /// Text that ends too early is refused instead of guessed.
    #[test]
    fn refusals() {
        assert_eq!(
            shell_split("it's"),
            Err(ShellSplitError::UnterminatedQuote('\''))
        );
        assert_eq!(
            shell_split("\"open"),
            Err(ShellSplitError::UnterminatedQuote('"'))
        );
        assert_eq!(
            shell_split("end\\"),
            Err(ShellSplitError::TrailingBackslash)
        );
        assert_eq!(
            shell_split("\"end\\"),
            Err(ShellSplitError::TrailingBackslash)
        );
    }
}
