// SPDX-License-Identifier: GPL-3.0-or-later
//! What a set-up decided, written into the configuration file.

use std::{collections::BTreeMap, path::Path};

use super::{BlenderCheck, check_storage};
use crate::{
    Error,
    config::{Config, Edited},
    variables::{Variable, VariableValue},
};

/// What somebody chose in a set-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The shared storage.
    storage: String,
    /// The command that starts Blender on Workers.
    blender: String,
}

impl Choice {
    /// Takes a choice if it is complete and the folder is fit. The error says what is missing.
    pub fn new(storage: &str, blender: &BlenderCheck, data: &Path) -> Result<Self, String> {
        let blender = command(blender)?;
        let checked = check_storage(storage, data);
        if !checked.is_usable {
            return Err(format!(
                "the shared storage {storage:?} cannot be used: {}",
                checked.cause
            ));
        }
        let storage = std::path::absolute(storage)
            .ok()
            .and_then(|path| path.to_str().map(str::to_owned))
            .unwrap_or_else(|| storage.to_owned());
        Ok(Self { storage, blender })
    }

    /// The shared storage, as it will be written.
    pub fn storage(&self) -> &str {
        &self.storage
    }

    /// The command that starts Blender.
    pub fn blender(&self) -> &str {
        &self.blender
    }
}

/// The command that a choice of Blender means.
fn command(chosen: &BlenderCheck) -> Result<String, String> {
    if !chosen.is_usable {
        return Err("this Blender is said not to be usable: choose another one".to_owned());
    }
    let given = |name: &str, text: &str| match text {
        "" => Err(format!(
            "a Blender of the source {:?} needs its {name}",
            chosen.source
        )),
        text if text.contains(|c: char| c.is_control()) => {
            Err(format!("the {name} of Blender has a control character"))
        }
        text => Ok(text.to_owned()),
    };
    match chosen.source.as_str() {
        "default" => Ok("blender".to_owned()),
        "file_association" => given("path", &chosen.path).map(|_| "blender".to_owned()),
        "path_envvar" => {
            given("path", &chosen.path)?;
            given("input", &chosen.input)
        }
        "input_path" | "system_location" => {
            given("input", &chosen.input)?;
            given("path", &chosen.path)
        }
        other => Err(format!(
            "{other:?} is no way to find Blender: it is default, file_association, path_envvar, \
             input_path or system_location"
        )),
    }
}

/// Writes a choice into the configuration file, making a documented one where there is none.
pub fn save(choice: &Choice, path: &Path) -> Result<Config, Error> {
    let mut edited = Edited::open(path)?;
    choose(&mut edited, choice);
    edited.save(path)
}

/// Puts a choice into a configuration.
pub fn choose(edited: &mut Edited, choice: &Choice) {
    edited.set(&["shared_storage_path"], choice.storage.as_str());
    let mut variables: BTreeMap<String, Variable> = edited.before().variables.clone();
    let value = |platform: &str, value: &str| VariableValue {
        platform: platform.to_owned(),
        value: value.to_owned(),
        ..VariableValue::default()
    };
    let blender = ["linux", "darwin", "windows"].map(|platform| value(platform, &choice.blender));
    let one_way = |values| Variable {
        is_twoway: false,
        values,
    };
    let is_default = choice.blender == "blender";
    // What each platform has by itself is better than one word for all of them.
    if !is_default || variables.get("blender") != crate::variables::defaults().get("blender") {
        variables.insert("blender".to_owned(), one_way(blender.to_vec()));
    }
    variables.insert(
        "blenderArgs".to_owned(),
        one_way(vec![value("all", "-b -y")]),
    );
    edited.set_variables(&variables);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(source: &str, input: &str, path: &str) -> BlenderCheck {
        BlenderCheck {
            input: input.to_owned(),
            path: path.to_owned(),
            source: source.to_owned(),
            is_usable: true,
            cause: String::new(),
        }
    }

    /// Each way to choose Blender leads to the command that Workers can start, and an incomplete
    /// choice to none.
    #[test]
    fn choices_become_commands() {
        for (source, input, path, wanted) in [
            ("default", "", "", "blender"),
            ("file_association", "", "/x/blender", "blender"),
            ("path_envvar", "kitty", "/usr/bin/kitty", "kitty"),
            ("input_path", "/bin/cat", "/bin/cat", "/bin/cat"),
            (
                "system_location",
                "x",
                "C:\\Program Files (x86)\\b.exe",
                "C:\\Program Files (x86)\\b.exe",
            ),
        ] {
            assert_eq!(command(&chosen(source, input, path)).unwrap(), wanted);
        }
        for (source, input, path) in [
            ("", "a", "b"),
            ("guess", "a", "b"),
            ("file_association", "a", ""),
            ("path_envvar", "", "b"),
            ("input_path", "a", ""),
            ("input_path", "a", "b\nc"),
        ] {
            assert!(
                command(&chosen(source, input, path)).is_err(),
                "{source} {input} {path}"
            );
        }
        let unusable = BlenderCheck {
            is_usable: false,
            ..chosen("default", "", "")
        };
        assert!(command(&unusable).is_err());
    }

    /// What is saved is what a start reads, with everything else in the file as it was.
    #[test]
    fn a_choice_is_saved() {
        let folder = tempfile::tempdir().unwrap();
        let (data, share) = (folder.path().join("data"), folder.path().join("share"));
        std::fs::create_dir_all(&data).unwrap();
        std::fs::create_dir_all(&share).unwrap();
        let path = data.join("tablao.toml");
        std::fs::write(&path, "manager_name = \"Mine\" # yes\n").unwrap();
        let blender = chosen("input_path", "/opt/b/blender", "/opt/b/blender");
        let choice = Choice::new(share.to_str().unwrap(), &blender, &data).unwrap();
        let config = save(&choice, &path).unwrap();
        assert_eq!(config, Config::load(&path).unwrap());
        assert_eq!(config.shared_storage_path, share);
        assert_eq!(config.variables["blender"].values.len(), 3);
        assert!(
            (config.variables["blender"].values.iter())
                .all(|value| value.value == "/opt/b/blender")
        );
        assert!(
            std::fs::read_to_string(&path)
                .unwrap()
                .starts_with("manager_name = \"Mine\" # yes\n")
        );
        assert!(Choice::new("/nowhere/at/all", &blender, &data).is_err());
    }
}
