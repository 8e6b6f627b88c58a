// SPDX-License-Identifier: GPL-3.0-or-later
//! Reads the parameters of a command with the rules of Flamenco's workers.
//!
//! A string must be a string, a list of strings may hold any scalars, and the two ways to get a
//! parameter wrong stay apart: it is missing, or it is there and makes no sense.

use serde_json::Value;

use crate::wire::Command;

/// A command that cannot be run as it is written.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(crate) enum ParameterError {
    /// A mandatory parameter is not there.
    #[error("{command}: parameter `{parameter}` is missing")]
    Missing {
        /// The command.
        command: String,
        /// The parameter.
        parameter: String,
    },
    /// A parameter is there and cannot be used.
    #[error("{command}: parameter `{parameter}` is invalid ({value}): {why}")]
    Invalid {
        /// The command.
        command: String,
        /// The parameter.
        parameter: String,
        /// What it holds, as JSON.
        value: String,
        /// What it should be.
        why: String,
    },
}

/// The parameters of one command.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parameters<'a> {
    command: &'a Command,
}

impl<'a> Parameters<'a> {
    pub(crate) fn of(command: &'a Command) -> Self {
        Self { command }
    }

    /// A parameter of any type; null counts as missing.
    pub(crate) fn any(&self, parameter: &str) -> Result<&'a Value, ParameterError> {
        match self.command.parameters.get(parameter) {
            None | Some(Value::Null) => Err(self.missing(parameter)),
            Some(value) => Ok(value),
        }
    }

    /// A string that must be there, possibly empty.
    pub(crate) fn string(&self, parameter: &str) -> Result<&'a str, ParameterError> {
        let value = self.any(parameter)?;
        value
            .as_str()
            .ok_or_else(|| self.invalid(parameter, "it must be a string"))
    }

    /// A string that must be there and say something.
    pub(crate) fn filled_string(&self, parameter: &str) -> Result<&'a str, ParameterError> {
        match self.string(parameter)? {
            "" => Err(self.missing(parameter)),
            text => Ok(text),
        }
    }

    /// A string that may be left out, which means the empty one.
    pub(crate) fn optional_string(&self, parameter: &str) -> Result<&'a str, ParameterError> {
        match self.any(parameter) {
            Ok(_) => self.string(parameter),
            Err(_) => Ok(""),
        }
    }

    /// A list of scalars as text; left out it is empty.
    pub(crate) fn strings(&self, parameter: &str) -> Result<Vec<String>, ParameterError> {
        let value = match self.command.parameters.get(parameter) {
            None | Some(Value::Null) => return Ok(Vec::new()),
            Some(value) => value,
        };
        let Value::Array(items) = value else {
            return Err(self.invalid(parameter, "it must be a list of strings"));
        };
        items
            .iter()
            .map(|item| match item {
                Value::String(text) => Ok(text.clone()),
                Value::Number(number) => Ok(number_text(number)),
                Value::Bool(flag) => Ok(flag.to_string()),
                Value::Null | Value::Array(_) | Value::Object(_) => {
                    Err(self.invalid(parameter, "its items must be strings or numbers"))
                }
            })
            .collect()
    }

    pub(crate) fn missing(&self, parameter: &str) -> ParameterError {
        ParameterError::Missing {
            command: self.command.name.clone(),
            parameter: parameter.to_owned(),
        }
    }

    pub(crate) fn invalid(&self, parameter: &str, why: impl Into<String>) -> ParameterError {
        let value = self.command.parameters.get(parameter);
        ParameterError::Invalid {
            command: self.command.name.clone(),
            parameter: parameter.to_owned(),
            value: value.unwrap_or(&Value::Null).to_string(),
            why: why.into(),
        }
    }
}

/// The shortest text of a number: `24`, also for 24.0, and `23.976`.
pub(crate) fn number_text(number: &serde_json::Number) -> String {
    match number.as_f64() {
        Some(value) if !number.is_i64() && !number.is_u64() => format!("{value}"),
        Some(_) | None => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn command(parameters: Value) -> Command {
        Command {
            name: "exec".into(),
            parameters: parameters.as_object().unwrap().clone(),
            total_step_count: 0,
        }
    }

    #[test]
    fn lists_are_converted_item_by_item() {
        // Protects argument lists of third-party job types, which mix strings and numbers.
        let command = command(json!({
            "mixed": ["a", 47, 0.327, 24.0, true], "nothing": null, "text": "a", "nested": [[1]]
        }));
        let parameters = Parameters::of(&command);
        assert_eq!(
            parameters.strings("mixed").unwrap(),
            ["a", "47", "0.327", "24", "true"]
        );
        assert!(parameters.strings("absent").unwrap().is_empty());
        assert!(parameters.strings("nothing").unwrap().is_empty());
        assert!(parameters.strings("text").is_err());
        assert!(parameters.strings("nested").is_err());
    }

    #[test]
    fn missing_and_invalid_are_told_apart() {
        // Protects the answer to "what is wrong with my job type": which parameter, and how.
        let command = command(json!({ "exe": 3, "empty": "" }));
        let parameters = Parameters::of(&command);
        let missing = parameters.string("args").unwrap_err();
        assert!(matches!(missing, ParameterError::Missing { .. }));
        let missing = parameters.filled_string("empty").unwrap_err();
        assert!(matches!(missing, ParameterError::Missing { .. }));
        let invalid = parameters.string("exe").unwrap_err();
        assert_eq!(
            invalid.to_string(),
            "exec: parameter `exe` is invalid (3): it must be a string"
        );
        assert_eq!(parameters.optional_string("absent").unwrap(), "");
        assert!(parameters.optional_string("exe").is_err());
    }
}
