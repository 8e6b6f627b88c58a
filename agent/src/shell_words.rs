// SPDX-License-Identifier: GPL-3.0-or-later
//! Splits `exeArgs` into words the way Flamenco's workers do, and quotes commands for the log.
//!
//! Not a shell: no variables, globs, pipes. Outside quotes a backslash takes the next character
//! literally, in double quotes too; single quotes take everything; `#` begins a comment only
//! where a word would begin.

/// The text ended inside a quote or after a backslash.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("unfinished quote or escape in `{0}`")]
pub(crate) struct Unfinished(String);

/// Splits `text` into words.
pub(crate) fn split(text: &str) -> Result<Vec<String>, Unfinished> {
    let unfinished = || Unfinished(text.to_owned());
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            ' ' | '\t' | '\r' | '\n' => words.extend(word.take()),
            '#' if word.is_none() => {
                // Runs to the end of the line, which separates words like any blank.
                for skipped in characters.by_ref() {
                    if skipped == '\n' {
                        break;
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match characters.next().ok_or_else(unfinished)? {
                        '"' => break,
                        '\\' => word.push(characters.next().ok_or_else(unfinished)?),
                        other => word.push(other),
                    }
                }
            }
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match characters.next().ok_or_else(unfinished)? {
                        '\'' => break,
                        other => word.push(other),
                    }
                }
            }
            '\\' => word
                .get_or_insert_default()
                .push(characters.next().ok_or_else(unfinished)?),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    Ok(words)
}

/// The command line in a form that can be pasted into a shell.
pub(crate) fn quote(exe: &str, args: &[String]) -> String {
    std::iter::once(exe)
        .chain(args.iter().map(String::as_str))
        .map(|word| match shlex::try_quote(word) {
            Ok(quoted) => quoted.into_owned(),
            // Only a NUL cannot be quoted, and no command line can hold one either.
            Err(_) => format!("{word:?}"),
        })
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_the_reference_says() {
        // Protects blenderArgs that studios have in their configuration.
        let table: [(&str, &[&str]); 9] = [
            ("", &[]),
            ("-b -y", &["-b", "-y"]),
            (
                "--python-expr 'print(1 + 1)'",
                &["--python-expr", "print(1 + 1)"],
            ),
            (
                " --factory-startup --python-expr \"import bpy; print(\\\"hello world\\\")\"",
                &[
                    "--factory-startup",
                    "--python-expr",
                    "import bpy; print(\"hello world\")",
                ],
            ),
            ("a\"b\"'c'", &["abc"]),
            ("'' \"\"", &["", ""]),
            ("C:\\x a\\ b", &["C:x", "a b"]),
            ("a#b # comment\nc", &["a#b", "c"]),
            ("\"\\n\"", &["n"]),
        ];
        for (text, expected) in table {
            assert_eq!(split(text).unwrap(), expected, "{text}");
        }
        for text in ["it's", "\"open", "end\\"] {
            assert!(split(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_logged_command_splits_into_the_same_words() {
        // Protects copying a command from the task log into a terminal.
        let args = vec!["a b".to_owned(), "it's".to_owned(), String::new()];
        let line = quote("blender", &args);
        assert_eq!(shlex::split(&line).unwrap()[1..], args[..]);
    }
}
