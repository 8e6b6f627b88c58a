// SPDX-License-Identifier: GPL-3.0-or-later
//! What helps to write a job type script: a first one, declarations for editors, and places in
//! scripts that messages name. Runs nothing.

/// TypeScript declarations of everything that a script finds around it.
pub const TYPE_DECLARATIONS: &str = include_str!("../types/tablao-jobtypes.d.ts");

/// Has editors check the scripts of a folder with [`TYPE_DECLARATIONS`].
pub const EDITOR_PROJECT: &str = r#"{
  "compilerOptions": {
    "checkJs": true,
    "noEmit": true,
    "target": "es2022",
    "lib": ["es2022"],
    "types": [],
    "moduleDetection": "legacy"
  },
  "include": ["*.d.ts", "*.js"]
}
"#;

/// A script to begin with.
#[must_use]
pub fn first_script(label: &str) -> String {
    include_str!("../types/template.js").replace("NAME", label)
}

/// A place in a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaceInScript {
    /// Path of the file below the scripts folder.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
}

impl PlaceInScript {
    /// The first place that a message names, as in `compileJob (shot.js:3:11)`.
    #[must_use]
    pub fn in_message(message: &str) -> Option<Self> {
        let extension = ".js:";
        let mut from = 0;
        while let Some(found) = message[from..].find(extension) {
            let end = from + found + extension.len() - 1;
            let name = message[..end].rsplit([' ', '(', '\'', '"', '\n']).next()?;
            let mut numbers = message[end + 1..].splitn(2, ':');
            let line = numbers.next().and_then(|text| text.parse().ok());
            let rest = numbers.next().unwrap_or_default();
            let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
            if let (Some(line), Ok(column)) = (line, digits.parse()) {
                let file = name.to_owned();
                return Some(Self { file, line, column });
            }
            from = end + 1;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Protects authors from searching: whatever stands around it, the place is found.
    #[test]
    fn a_message_names_its_place() {
        let place = |message: &str| PlaceInScript::in_message(message);
        let at = |file: &str, line, column| {
            Some(PlaceInScript {
                file: file.to_owned(),
                line,
                column,
            })
        };
        let said = "ReferenceError: x is not defined at compileJob (shot.js:3:11)";
        assert_eq!(place(said), at("shot.js", 3, 11));
        assert_eq!(
            place("oops at lib/help.js:12:1; correct it"),
            at("lib/help.js", 12, 1)
        );
        assert_eq!(place("script shot.js: is no job type"), None);
        assert_eq!(place("no place"), None);
    }
}
