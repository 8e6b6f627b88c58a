// SPDX-License-Identifier: GPL-3.0-or-later
//! Variables: values that differ by platform and audience, such as where Blender is.
//!
//! One-way variables are replaced when a task is handed out. Two-way ones also turn a
//! submitter's path into `{name}` at submission. Longest match first, and only at the
//! boundary of a path component, so `/render` is not found in `/render2`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One variable.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Variable {
    /// Paths of submitters are turned into it, too.
    pub is_twoway: bool,
    /// Its values.
    pub values: Vec<VariableValue>,
}

/// A value for some platforms and some audience.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VariableValue {
    /// `all` (or empty), `workers`, `users`.
    pub audience: String,
    /// `all`, or an operating system in Go's names.
    pub platform: String,
    /// Several platforms at once.
    pub platforms: Vec<String>,
    /// The value.
    pub value: String,
}

impl VariableValue {
    /// The platforms that it names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let one = std::iter::once(self.platform.as_str()).filter(|name| !name.is_empty());
        one.chain(self.platforms.iter().map(String::as_str))
    }

    /// It is for every audience.
    pub fn for_all(&self) -> bool {
        matches!(self.audience.as_str(), "" | "all")
    }
}

/// A folder lies in another one (or is it), as submitted paths are compared.
pub(crate) fn collapses_into(inner: &str, outer: &str) -> bool {
    starts_at_boundary(trim_end(inner), trim_end(outer), true)
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Workers.
    Workers,
    /// Users' machines.
    Users,
}

impl Audience {
    fn name(self) -> &'static str {
        match self {
            Self::Workers => "workers",
            Self::Users => "users",
        }
    }
}

/// What every farm has until a studio says otherwise.
pub fn defaults() -> BTreeMap<String, Variable> {
    let value = |platform: &str, value: &str| VariableValue {
        platform: platform.to_owned(),
        value: value.to_owned(),
        ..VariableValue::default()
    };
    let one_way = |values| Variable {
        is_twoway: false,
        values,
    };
    BTreeMap::from([
        (
            "blender".to_owned(),
            one_way(vec![
                value("linux", "blender"),
                value("darwin", "blender"),
                value("windows", "blender.exe"),
            ]),
        ),
        (
            "blenderArgs".to_owned(),
            one_way(vec![value("all", "-b -y")]),
        ),
    ])
}

/// The operating system of this process, in Go's names.
pub fn own_platform() -> &'static str {
    match std::env::consts::OS {
        "macos" => "darwin",
        other => other,
    }
}

/// The variables as one audience on one platform sees them.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// Name to value and whether it is two-way.
    pub values: BTreeMap<String, (String, bool)>,
    /// Two-way variables by the Manager's own value, longest first.
    own_prefixes: Vec<(String, String)>,
    platform: String,
}

impl Resolved {
    /// Resolves for an audience and platform. `jobs` is the effective storage path.
    pub fn new(
        variables: &BTreeMap<String, Variable>,
        jobs: &str,
        audience: Audience,
        platform: &str,
    ) -> Self {
        let platform = platform.to_lowercase();
        let mut values = BTreeMap::new();
        let mut own_prefixes = Vec::new();
        for (name, variable) in variables {
            let Some(value) = lookup(variable, audience, &platform) else {
                continue;
            };
            let value = if variable.is_twoway {
                trim_end(value)
            } else {
                value
            };
            if variable.is_twoway
                && let Some(own) = lookup(variable, audience, own_platform())
                && !own.is_empty()
            {
                own_prefixes.push((trim_end(own).to_owned(), value.to_owned()));
            }
            values.insert(name.clone(), (value.to_owned(), variable.is_twoway));
        }
        values.insert("jobs".to_owned(), (jobs.to_owned(), false));
        own_prefixes.sort_by_key(|(own, _)| std::cmp::Reverse(own.len()));
        Self {
            values,
            own_prefixes,
            platform,
        }
    }

    /// Replaces variables in a string for the target.
    pub fn expand(&self, text: &str) -> String {
        let mut result = text.to_owned();
        for (name, (value, _)) in self.values.iter().filter(|(_, (_, two_way))| !two_way) {
            if result.contains('{') {
                result = result.replace(&format!("{{{name}}}"), value);
            }
        }
        let mut is_path = false;
        for (name, (value, _)) in self.values.iter().filter(|(_, (_, two_way))| *two_way) {
            let placeholder = format!("{{{name}}}");
            if result.contains(&placeholder) {
                result = result.replace(&placeholder, value);
                is_path = true;
            }
        }
        let own =
            (self.own_prefixes.iter()).find(|(own, _)| starts_at_boundary(&result, own, false));
        if let Some((own, target)) = own {
            result = format!("{target}{}", &result[own.len()..]);
            is_path = true;
        }
        if is_path {
            to_platform(&result, &self.platform)
        } else {
            result
        }
    }

    /// Replaces variables in strings and in lists of strings of command parameters; deeper
    /// values and names stay as they are.
    pub fn expand_parameters(&self, parameters: &mut serde_json::Map<String, Value>) {
        for value in parameters.values_mut() {
            match value {
                Value::String(text) => self.expand_in_place(text),
                Value::Array(items) => {
                    for item in items {
                        if let Value::String(text) = item {
                            self.expand_in_place(text);
                        }
                    }
                }
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {}
            }
        }
    }

    fn expand_in_place(&self, text: &mut String) {
        if text.contains('{') || !self.own_prefixes.is_empty() {
            *text = self.expand(text);
        }
    }

    /// Turns the submitter's paths into variables: the longest two-way value that the text
    /// starts with becomes `{name}`. Case and kind of slash do not matter.
    pub fn collapse(&self, text: &str) -> String {
        let best = self
            .values
            .iter()
            // Of several that are as long, the first by name: the last that is looked at wins.
            .rev()
            .filter(|(_, (value, two_way))| *two_way && !value.is_empty())
            .filter(|(_, (value, _))| starts_at_boundary(text, value, true))
            .max_by_key(|(_, (value, _))| value.len());
        match best {
            Some((name, (value, _))) => format!("{{{name}}}{}", &text[value.len()..]),
            None => text.to_owned(),
        }
    }
}

fn lookup<'a>(variable: &'a Variable, audience: Audience, platform: &str) -> Option<&'a str> {
    let for_audience =
        |value: &&VariableValue| value.for_all() || value.audience == audience.name();
    let names = |value: &VariableValue, wanted: &str| value.names().any(|name| name == wanted);
    let found = |wanted: &str| {
        (variable.values.iter().filter(for_audience))
            .rfind(|value| names(value, wanted))
            .map(|value| value.value.as_str())
    };
    found(platform).or_else(|| found("all"))
}

/// Without separators at the end; of a root, its first one stays.
fn trim_end(path: &str) -> &str {
    let trimmed = path.trim_end_matches(['/', '\\']);
    match trimmed {
        "" => &path[..path.len().min(1)],
        trimmed => trimmed,
    }
}

/// The text starts with the prefix, and there a path component ends. Loosely: whatever the case
/// and the kind of slash.
fn starts_at_boundary(text: &str, prefix: &str, loosely: bool) -> bool {
    let Some(head) = text.get(..prefix.len()) else {
        return false;
    };
    let same = if loosely {
        let fold = |part: &str| part.replace('\\', "/").to_lowercase();
        fold(head) == fold(prefix)
    } else {
        head == prefix
    };
    let rest = &text[prefix.len()..];
    same && (rest.is_empty() || rest.starts_with(['/', '\\']))
}

/// Converts separators for the target: one kind, none repeated or trailing, leading ones kept.
fn to_platform(path: &str, platform: &str) -> String {
    let separator = if platform == "windows" { '\\' } else { '/' };
    let is_separator = |c: char| c == '/' || c == '\\';
    let leading = path.chars().take_while(|&c| is_separator(c)).count();
    let mut result: String = std::iter::repeat_n(separator, leading).collect();
    let parts: Vec<&str> = path
        .split(is_separator)
        .filter(|part| !part.is_empty())
        .collect();
    result.push_str(&parts.join(&separator.to_string()));
    if platform == "windows" && leading == 0 {
        let bytes = result.as_bytes();
        if bytes.len() >= 2
            && bytes[0].is_ascii_alphabetic()
            && bytes[1] == b':'
            && bytes.get(2) != Some(&b'\\')
        {
            result.insert(2, '\\');
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_way(linux: &str, windows: &str) -> Variable {
        let value = |platform: &str, value: &str| VariableValue {
            platform: platform.to_owned(),
            value: value.to_owned(),
            ..VariableValue::default()
        };
        Variable {
            is_twoway: true,
            values: vec![value("linux", linux), value("windows", windows)],
        }
    }

    fn resolved(platform: &str) -> Resolved {
        let mut variables = defaults();
        variables.insert(
            "shared".to_owned(),
            two_way("/shared/flamenco", "Y:\\shared\\flamenco"),
        );
        variables.insert("deep".to_owned(), two_way("/shared/flamenco/deep", "Z:\\"));
        Resolved::new(&variables, "/storage/jobs", Audience::Workers, platform)
    }

    /// Submitters' paths become variables whatever their slashes and case, at boundaries only.
    #[test]
    fn paths_become_variables() {
        let windows = resolved("windows");
        assert_eq!(
            windows.collapse("y:/Shared/FLAMENCO/shot/x.blend"),
            "{shared}/shot/x.blend"
        );
        assert_eq!(
            windows.collapse("Y:\\shared\\flamenco2\\x.blend"),
            "Y:\\shared\\flamenco2\\x.blend"
        );
        let linux = resolved("linux");
        assert_eq!(
            linux.collapse("/shared/flamenco/deep/x"),
            "{deep}/x",
            "longest match first"
        );
        assert_eq!(
            linux.collapse("/backup/shared/flamenco/x"),
            "/backup/shared/flamenco/x"
        );
    }

    /// A task's paths become the worker's own, and text without a path variable stays as it is.
    #[test]
    fn variables_become_paths() {
        let windows = resolved("windows");
        assert_eq!(
            windows.expand("{shared}/shot\\file.blend"),
            "Y:\\shared\\flamenco\\shot\\file.blend"
        );
        assert_eq!(windows.expand("{blender}"), "blender.exe");
        assert_eq!(windows.expand("scale=iw/2:ih/2"), "scale=iw/2:ih/2");
        assert_eq!(windows.expand("{deep}"), "Z:\\");
        assert_eq!(windows.expand("{unknown}/x"), "{unknown}/x");
        let linux = resolved("linux");
        assert_eq!(linux.expand("{jobs}/x"), "/storage/jobs/x");
        assert_eq!(linux.expand("{shared}\\a//b/"), "/shared/flamenco/a/b");
    }

    /// Paths reach the other platform whole: mixed separators, drives, servers, roots.
    #[test]
    fn paths_are_converted() {
        for (path, windows, linux) in [
            (
                "F:/mixed/path\\to\\file.blend",
                "F:\\mixed\\path\\to\\file.blend",
                "F:/mixed/path/to/file.blend",
            ),
            ("/absolute/path", "\\absolute\\path", "/absolute/path"),
            ("/dir/path/", "\\dir\\path", "/dir/path"),
            ("F:\\", "F:\\", "F:"),
            ("F:", "F:\\", "F:"),
            ("F:path\\to", "F:\\path\\to", "F:path/to"),
            (
                "\\\\NAS\\share\\path",
                "\\\\NAS\\share\\path",
                "//NAS/share/path",
            ),
            ("\u{a9}:path", "\u{a9}:path", "\u{a9}:path"),
            ("x", "x", "x"),
            ("", "", ""),
        ] {
            assert_eq!(to_platform(path, "windows"), windows, "{path}");
            assert_eq!(to_platform(path, "linux"), linux, "{path}");
        }
        for (path, wanted) in [
            ("///", "/"),
            ("\\\\\\", "\\"),
            ("/\\", "/"),
            ("trailing/slash/", "trailing/slash"),
            ("blank ", "blank "),
            ("", ""),
        ] {
            assert_eq!(trim_end(path), wanted, "{path}");
        }
    }

    /// A folder that is a whole drive elsewhere comes out as the drive's root, and a Manager's
    /// own path in a task becomes the Worker's.
    #[test]
    fn a_drive_is_a_folder_elsewhere() {
        let variables = BTreeMap::from([("root".to_owned(), two_way("/mnt/flamenco", "F:\\"))]);
        let of = |platform| {
            let jobs = "/mnt/flamenco/jobs";
            Resolved::new(&variables, jobs, Audience::Workers, platform)
        };
        let windows = of("windows");
        assert_eq!(
            windows.collapse("f:\\shot\\x.blend"),
            "{root}\\shot\\x.blend"
        );
        assert_eq!(windows.expand("{root}"), "F:\\");
        assert_eq!(windows.expand("{root}/{root}"), "F:\\F:");
        if own_platform() == "linux" {
            assert_eq!(windows.expand("{jobs}/x"), "F:\\jobs\\x");
            assert_eq!(windows.expand("/mnt/flamenco2/x"), "/mnt/flamenco2/x");
        }
        assert_eq!(of("linux").expand("{root}"), "/mnt/flamenco");
        assert_eq!(of("plan9").expand("{root}/x"), "{root}/x");
    }

    /// The same configuration and path give the same job whichever way the map is walked, and a
    /// value that stands for everything stands for nothing.
    #[test]
    fn ties_and_roots() {
        let variables = BTreeMap::from([
            ("b".to_owned(), two_way("/same/", "B:\\")),
            ("a".to_owned(), two_way("/SAME", "A:\\")),
            ("empty".to_owned(), two_way("", "")),
            ("root".to_owned(), two_way("/", "\\")),
        ]);
        let linux = Resolved::new(&variables, "/jobs", Audience::Workers, "linux");
        assert_eq!(linux.collapse("/same/x"), "{a}/x");
        assert_eq!(linux.collapse("/other/x"), "/other/x");
        assert_eq!(linux.expand("/other/x"), "/other/x");
    }

    /// Users and Workers may see different values, and what is said for a platform comes before
    /// what is said for all.
    #[test]
    fn audiences_and_platforms() {
        let value = |audience: &str, platforms: &[&str], value: &str| VariableValue {
            audience: audience.to_owned(),
            platforms: platforms.iter().map(ToString::to_string).collect(),
            value: value.to_owned(),
            ..VariableValue::default()
        };
        let variable = Variable {
            is_twoway: false,
            values: vec![
                value("", &["linux", "darwin"], "unix"),
                value("users", &["darwin"], "mac user"),
                value("workers", &["all"], "any worker"),
            ],
        };
        let of = |audience, platform| lookup(&variable, audience, platform);
        assert_eq!(of(Audience::Workers, "linux"), Some("unix"));
        assert_eq!(of(Audience::Workers, "darwin"), Some("unix"));
        assert_eq!(of(Audience::Users, "darwin"), Some("mac user"));
        assert_eq!(of(Audience::Workers, "windows"), Some("any worker"));
        assert_eq!(of(Audience::Users, "windows"), None);
    }

    /// Names and nested values are never touched.
    #[test]
    fn only_strings_and_lists_are_expanded() {
        let mut parameters = serde_json::json!({
            "{blender}": "{blender}", "list": ["{blender}", 1], "deep": {"x": "{blender}"}
        });
        let map = parameters.as_object_mut().expect("an object");
        resolved("linux").expand_parameters(map);
        assert_eq!(
            parameters,
            serde_json::json!({"{blender}": "blender", "list": ["blender", 1], "deep": {"x": "{blender}"}})
        );
    }
}
