// SPDX-License-Identifier: GPL-3.0-or-later
//! A job type as clients see it, in the exact JSON of the version 3 Manager API.
//!
//! Existing clients check every field against their schema, so optional keys are left out and
//! never `null`. Reading these from a script is in `declaration`, the etag in `etag`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A job type that can be submitted to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AvailableJobType {
    /// Name used in submissions: the script's file name without extension, `_` replaced by `-`.
    pub name: String,
    /// Label for people.
    pub label: String,
    /// The settings, in the order in which the script declares them.
    pub settings: Vec<JobSetting>,
    /// Fingerprint of name, label, description and settings. Opaque to clients.
    pub etag: String,
    /// What the job type is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// One declared setting of a job type.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobSetting {
    /// Name of the setting in submissions.
    pub key: String,
    /// The type of its values.
    #[serde(rename = "type")]
    pub value_type: SettingType,
    /// What kind of path a string holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subtype: Option<SettingSubtype>,
    /// Values to choose from; strings only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<String>,
    /// Extra arguments of the Blender property, such as `min` and `max`.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub propargs: Map<String, Value>,
    /// Tooltip. Any JSON, as the API leaves it open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<Value>,
    /// Label for people; clients derive one from the key when it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<Value>,
    /// What forms start with. Never filled in on this side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// Python expression that Blender evaluates for the value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eval: Option<String>,
    /// How the expression is presented.
    #[serde(default, rename = "evalInfo", skip_serializing_if = "Option::is_none")]
    pub eval_info: Option<EvalInfo>,
    /// Where the setting is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visible: Option<SettingVisibility>,
    /// Whether the script cannot do without it; see [`crate::settings`] for what that means here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub required: Option<bool>,
    /// `false` makes it a computed, read-only field; absent counts as editable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub editable: Option<bool>,
}

/// How a setting's expression is presented.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct EvalInfo {
    /// Offer an "automatic" toggle, on by default.
    #[serde(rename = "showLinkButton")]
    pub show_link_button: bool,
    /// Text shown in place of the value while it is automatic.
    pub description: String,
}

/// Type of a setting's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SettingType {
    /// Text.
    String,
    /// A whole number of 32 bits.
    Int32,
    /// Any number.
    Float,
    /// True or false.
    Bool,
}

/// What kind of path a string setting holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SettingSubtype {
    /// A file.
    FilePath,
    /// A directory.
    DirPath,
    /// A file name without directory.
    FileName,
    /// A directory plus a pattern for frame numbers.
    HashedFilePath,
}

/// Where a setting is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SettingVisibility {
    /// Everywhere.
    Visible,
    /// In the submission form only.
    Submission,
    /// In the web interface only.
    Web,
    /// Nowhere.
    Hidden,
}

impl SettingType {
    /// The name scripts and the API use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Int32 => "int32",
            Self::Float => "float",
            Self::Bool => "bool",
        }
    }
}
