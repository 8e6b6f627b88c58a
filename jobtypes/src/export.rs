// SPDX-License-Identifier: GPL-3.0-or-later
//! From JavaScript values to JSON, strictly and within a budget.
//!
//! Not `JSON.stringify`: that turns NaN into null and drops functions without a word, and a job with
//! such a hole fails hours later on a Worker. Here it is refused at once, with the place. The budget
//! bounds what a script can make the Manager keep outside of the virtual machine.

use std::cell::Cell;

use rquickjs::{Array, Coerced, Ctx, Function, Object, Value as JsValue, function::This};
use serde_json::{Map, Number, Value};

/// Deeper nesting is a structure that contains itself.
const DEPTH_MAX: usize = 64;
/// Rough cost of a value beyond its text.
const VALUE_BYTES: usize = 32;
/// Largest whole number that a JavaScript number holds exactly.
const EXACT_INTEGER_MAX: f64 = 9_007_199_254_740_991.0;

/// Why a value did not make it.
#[derive(Debug)]
pub(crate) enum ExportError {
    /// Something the value ran (a getter, `toJSON`) threw.
    Js(rquickjs::Error),
    /// JSON cannot hold it: where, and what it is.
    Refused { place: String, problem: String },
    /// The budget is used up.
    Budget,
}

impl From<rquickjs::Error> for ExportError {
    fn from(error: rquickjs::Error) -> Self {
        Self::Js(error)
    }
}

/// Converts any value. `place` names it in refusals.
pub(crate) fn value<'js>(
    value: JsValue<'js>,
    place: &str,
    budget: &Cell<usize>,
) -> Result<Value, ExportError> {
    Exporter { budget }
        .value(value, 0)
        .map_err(|error| match error {
            ExportError::Refused {
                place: inner,
                problem,
            } => ExportError::Refused {
                place: format!("{place}{inner}"),
                problem,
            },
            other => other,
        })
}

/// Converts an object; `undefined` and `null` are an empty one, anything else is refused.
pub(crate) fn object<'js>(
    js: JsValue<'js>,
    place: &str,
    budget: &Cell<usize>,
) -> Result<Map<String, Value>, ExportError> {
    if js.is_undefined() || js.is_null() {
        return Ok(Map::new());
    }
    let kind = js.type_name();
    match value(js, place, budget)? {
        Value::Object(map) => Ok(map),
        _ => Err(ExportError::Refused {
            place: place.to_owned(),
            problem: format!("must be an object, not {kind}"),
        }),
    }
}

struct Exporter<'a> {
    budget: &'a Cell<usize>,
}

impl Exporter<'_> {
    fn charge(&self, bytes: usize) -> Result<(), ExportError> {
        let left = self
            .budget
            .get()
            .checked_sub(bytes)
            .ok_or(ExportError::Budget)?;
        self.budget.set(left);
        Ok(())
    }

    fn value(&self, value: JsValue<'_>, depth: usize) -> Result<Value, ExportError> {
        if depth > DEPTH_MAX {
            return Err(refused("is nested too deeply or contains itself"));
        }
        self.charge(VALUE_BYTES)?;
        if value.is_undefined() || value.is_null() {
            return Ok(Value::Null);
        }
        if let Some(flag) = value.as_bool() {
            return Ok(Value::Bool(flag));
        }
        if let Some(number) = value.as_number() {
            return export_number(number);
        }
        if let Some(string) = value.as_string() {
            let text = string.to_string()?;
            self.charge(text.len())?;
            return Ok(Value::String(text));
        }
        if value.is_function() {
            return Err(refused("is a function"));
        }
        if let Some(array) = value.as_array() {
            return self.array(array, depth);
        }
        match value.as_object() {
            Some(object) => self.object(object, depth),
            None => Err(refused(&format!(
                "is a {}, which JSON cannot hold",
                value.type_name()
            ))),
        }
    }

    fn array(&self, array: &Array<'_>, depth: usize) -> Result<Value, ExportError> {
        // Not `Array::len()`, which cannot hold the length of a huge array without items.
        let length = array.as_object().get::<_, f64>("length")?;
        let mut items = Vec::new();
        for index in 0u32.. {
            if f64::from(index) >= length {
                break;
            }
            let item = self.value(array.as_object().get(index)?, depth + 1);
            items.push(item.map_err(|error| inside(error, &format!("[{index}]")))?);
        }
        Ok(Value::Array(items))
    }

    fn object(&self, object: &Object<'_>, depth: usize) -> Result<Value, ExportError> {
        let to_json: JsValue<'_> = object.get("toJSON")?;
        if let Some(to_json) = to_json.into_function() {
            return self.value(to_json.call((This(object.clone()),))?, depth + 1);
        }
        let mut map = Map::new();
        // Keys as JavaScript strings: the shorter way over C strings would cut them at a NUL.
        for property in object.props::<rquickjs::String<'_>, JsValue<'_>>() {
            let (key, item) = property?;
            let key = key.to_string()?;
            self.charge(key.len())?;
            let item = self.value(item, depth + 1);
            let item = item.map_err(|error| inside(error, &format!(".{key}")))?;
            map.insert(key, item);
        }
        // Sets and maps have no properties of their own, so plain data is spared the question.
        if map.is_empty()
            && let Some(items) = items_of_collection(object)?
        {
            return self.value(items, depth + 1);
        }
        Ok(Value::Object(map))
    }
}

/// The items of a set or a map, as an array.
fn items_of_collection<'js>(object: &Object<'js>) -> Result<Option<JsValue<'js>>, ExportError> {
    let globals = object.ctx().globals();
    for collection in ["Set", "Map"] {
        let class: JsValue<'js> = globals.get(collection)?;
        if class.is_function() && object.is_instance_of(&class) {
            let from: Function<'js> = globals.get::<_, Object<'js>>("Array")?.get("from")?;
            return Ok(Some(from.call((object.clone(),))?));
        }
    }
    Ok(None)
}

fn export_number(number: f64) -> Result<Value, ExportError> {
    if number.fract() == 0.0 && number.abs() <= EXACT_INTEGER_MAX {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "whole and in range, just checked"
        )]
        let whole = number as i64;
        return Ok(Value::from(whole));
    }
    Number::from_f64(number)
        .map(Value::Number)
        .ok_or_else(|| refused(&format!("is {}, which JSON cannot hold", js_name(number))))
}

fn js_name(number: f64) -> &'static str {
    if number.is_nan() {
        "NaN"
    } else if number > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    }
}

fn refused(problem: &str) -> ExportError {
    ExportError::Refused {
        place: String::new(),
        problem: problem.to_owned(),
    }
}

fn inside(error: ExportError, step: &str) -> ExportError {
    match error {
        ExportError::Refused { place, problem } => ExportError::Refused {
            place: format!("{step}{place}"),
            problem,
        },
        other => other,
    }
}

/// Text where the environment expects text: missing, `undefined` and `null` are empty.
pub(crate) fn text(value: &JsValue<'_>) -> rquickjs::Result<String> {
    if value.is_undefined() || value.is_null() {
        return Ok(String::new());
    }
    Ok(value.get::<Coerced<String>>()?.0)
}

/// A whole number where the environment expects one: missing is 0, fractions are cut off.
pub(crate) fn integer(value: &JsValue<'_>) -> rquickjs::Result<i64> {
    if value.is_undefined() || value.is_null() {
        return Ok(0);
    }
    let number = value.get::<Coerced<f64>>()?.0;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "saturates, and NaN becomes 0"
    )]
    let whole = number as i64;
    Ok(whole)
}

/// JSON into JavaScript.
pub(crate) fn to_js<'js>(ctx: &Ctx<'js>, value: &Value) -> rquickjs::Result<JsValue<'js>> {
    ctx.json_parse(value.to_string())
}
