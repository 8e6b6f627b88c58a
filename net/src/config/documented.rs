// SPDX-License-Identifier: GPL-3.0-or-later
//! The documented configuration file: every key with its default and a comment. It is what
//! `tablao config default` prints, what the set-up begins with, and what `read` knows keys from.

use super::Config;

const TEXT: &str = include_str!("documented.toml");

/// The documented file with this platform's defaults.
pub fn documented() -> String {
    // The text as it stands is for platforms on which links are made without asking.
    let defaults = Config::default();
    TEXT.replace(
        "\nenabled = true\n\n# How often files",
        &format!(
            "\nenabled = {}\n\n# How often files",
            defaults.shaman.enabled
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Level, read};

    /// What is documented is what happens: the file as printed is the defaults.
    #[test]
    fn the_documented_file_is_the_defaults() {
        let read = read(&documented());
        assert_eq!(read.findings, [], "{:?}", Level::Error);
        assert_eq!(read.config, Some(Config::default()));
    }

    /// A key that nobody documents is a key that nobody finds.
    #[test]
    fn every_key_is_documented() {
        let mut all = Vec::new();
        let config = toml::Table::try_from(Config::default()).unwrap();
        names(&config, &mut String::new(), &mut all);
        assert!(all.len() > 25, "{all:?}");
        let document: toml::Table = toml::from_str(&documented()).unwrap();
        let mut told = Vec::new();
        names(&document, &mut String::new(), &mut told);
        all.retain(|name| !told.contains(name));
        // Fields of a value that the default variables do not use stand in the comments.
        assert_eq!(all, Vec::<String>::new());
        for field in ["platform ", "platforms ", "audience ", "is_twoway"] {
            assert!(documented().contains(field));
        }
    }

    fn names(table: &toml::Table, path: &mut String, into: &mut Vec<String>) {
        for (key, value) in table {
            let length = path.len();
            path.push_str(key);
            into.push(path.clone());
            if let toml::Value::Table(inner) = value {
                path.push('.');
                names(inner, path, into);
            }
            path.truncate(length);
        }
    }
}
