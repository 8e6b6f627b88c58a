// SPDX-License-Identifier: GPL-3.0-or-later
//! From JavaScript values to JSON, as a tree or as text, strictly and within a budget.
//!
//! Not `JSON.stringify`: that turns NaN into null and drops functions without a word, and a job with
//! such a hole fails hours later on a Worker. Here it is refused at once, with the place. The budget
//! bounds what a script can make the Manager keep outside of the virtual machine.

use std::cell::{Cell, RefCell};

use rquickjs::{
    Array, Coerced, Ctx, Function, Object, Value as JsValue, atom::PredefinedAtom, function::This,
};
use serde::{
    Serialize, Serializer,
    ser::{SerializeMap as _, SerializeSeq as _},
};
use serde_json::{Map, Value};

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
    value: &JsValue<'js>,
    place: &str,
    budget: &Cell<usize>,
) -> Result<Value, ExportError> {
    export(value, budget, |node| {
        node.serialize(serde_json::value::Serializer)
    })
    .map_err(|error| at(error, place))
}

/// Converts an object; `undefined` and `null` are an empty one, anything else is refused.
pub(crate) fn object<'js>(
    js: &JsValue<'js>,
    place: &str,
    budget: &Cell<usize>,
) -> Result<Map<String, Value>, ExportError> {
    if js.is_undefined() || js.is_null() {
        return Ok(Map::new());
    }
    match value(js, place, budget)? {
        Value::Object(map) => Ok(map),
        _ => Err(no_object(js, place)),
    }
}

/// The same as JSON text, appended to `text`: no tree is built on the way.
pub(crate) fn object_text(
    js: &JsValue<'_>,
    place: impl Fn() -> String,
    budget: &Cell<usize>,
    text: &mut Vec<u8>,
) -> Result<(), ExportError> {
    if js.is_undefined() || js.is_null() {
        text.extend_from_slice(b"{}");
        return Ok(());
    }
    let start = text.len();
    let mut serializer = serde_json::Serializer::new(&mut *text);
    export(js, budget, |node| node.serialize(&mut serializer))
        .map_err(|error| at(error, &place()))?;
    if text.get(start) == Some(&b'{') {
        Ok(())
    } else {
        Err(no_object(js, &place()))
    }
}

fn no_object(js: &JsValue<'_>, place: &str) -> ExportError {
    ExportError::Refused {
        place: place.to_owned(),
        problem: format!("must be an object, not {}", js.type_name()),
    }
}

/// Walks a value into whatever `write` makes of it.
fn export<'js, T>(
    value: &JsValue<'js>,
    budget: &Cell<usize>,
    write: impl FnOnce(&Node<'_, 'js>) -> Result<T, serde_json::Error>,
) -> Result<T, ExportError> {
    let walk = Walk {
        budget,
        failure: RefCell::default(),
    };
    let node = Node {
        walk: &walk,
        value,
        depth: 0,
    };
    write(&node).map_err(|_| walk.failure.take().unwrap_or(ExportError::Budget))
}

/// What all nodes of one walk share.
struct Walk<'a> {
    budget: &'a Cell<usize>,
    /// Why the walk ended early: serde's own errors carry text only.
    failure: RefCell<Option<ExportError>>,
}

impl Walk<'_> {
    /// Ends the walk.
    fn fail<E: serde::ser::Error>(&self, error: ExportError) -> E {
        self.failure.replace(Some(error));
        E::custom("")
    }

    /// Names the place on the way out.
    fn passed<E>(&self, error: E, step: impl FnOnce() -> String) -> E {
        let failure = self.failure.take().map(|failure| at(failure, &step()));
        self.failure.replace(failure);
        error
    }

    fn js<T, E: serde::ser::Error>(&self, result: rquickjs::Result<T>) -> Result<T, E> {
        result.map_err(|error| self.fail(ExportError::Js(error)))
    }

    fn charge<E: serde::ser::Error>(&self, bytes: usize) -> Result<(), E> {
        match self.budget.get().checked_sub(bytes) {
            Some(left) => {
                self.budget.set(left);
                Ok(())
            }
            None => Err(self.fail(ExportError::Budget)),
        }
    }
}

/// One value on the way.
struct Node<'a, 'js> {
    walk: &'a Walk<'a>,
    value: &'a JsValue<'js>,
    depth: usize,
}

impl Serialize for Node<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (walk, value) = (self.walk, self.value);
        if self.depth > DEPTH_MAX {
            return Err(walk.fail(refused("is nested too deeply or contains itself")));
        }
        walk.charge(VALUE_BYTES)?;
        if let Some(string) = value.as_string() {
            let text = walk.js(string.to_string())?;
            walk.charge(text.len())?;
            return serializer.serialize_str(&text);
        }
        if value.is_undefined() || value.is_null() {
            return serializer.serialize_unit();
        }
        if let Some(flag) = value.as_bool() {
            return serializer.serialize_bool(flag);
        }
        if let Some(number) = value.as_number() {
            return self.number(number, serializer);
        }
        if value.is_function() {
            return Err(walk.fail(refused("is a function")));
        }
        if let Some(array) = value.as_array() {
            return self.array(array, serializer);
        }
        match value.as_object() {
            Some(object) => self.object(object, serializer),
            None => Err(walk.fail(refused(&format!(
                "is a {}, which JSON cannot hold",
                value.type_name()
            )))),
        }
    }
}

impl<'js> Node<'_, 'js> {
    fn below<'b>(&'b self, value: &'b JsValue<'js>) -> Node<'b, 'js> {
        Node {
            walk: self.walk,
            value,
            depth: self.depth + 1,
        }
    }

    fn number<S: Serializer>(&self, number: f64, serializer: S) -> Result<S::Ok, S::Error> {
        if number.fract() == 0.0 && number.abs() <= EXACT_INTEGER_MAX {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "whole and in range, just checked"
            )]
            return serializer.serialize_i64(number as i64);
        }
        if number.is_finite() {
            return serializer.serialize_f64(number);
        }
        let problem = format!("is {}, which JSON cannot hold", js_name(number));
        Err(self.walk.fail(refused(&problem)))
    }

    fn array<S: Serializer>(&self, array: &Array<'js>, to: S) -> Result<S::Ok, S::Error> {
        let walk = self.walk;
        // Not `Array::len()`, which cannot hold the length of a huge array without items.
        let length: f64 = walk.js(array.as_object().get(PredefinedAtom::Length))?;
        let mut items = to.serialize_seq(None)?;
        for index in 0u32.. {
            if f64::from(index) >= length {
                break;
            }
            let item: JsValue<'js> = walk.js(array.as_object().get(index))?;
            items
                .serialize_element(&self.below(&item))
                .map_err(|error| walk.passed(error, || format!("[{index}]")))?;
        }
        items.end()
    }

    fn object<S: Serializer>(&self, object: &Object<'js>, to: S) -> Result<S::Ok, S::Error> {
        let walk = self.walk;
        let to_json: JsValue<'js> = walk.js(object.get(PredefinedAtom::ToJSON))?;
        if let Some(to_json) = to_json.into_function() {
            let shown = walk.js(to_json.call((This(object.clone()),)))?;
            return self.below(&shown).serialize(to);
        }
        // Keys as JavaScript strings: the shorter way over C strings would cut them at a NUL.
        let mut properties = object.props::<rquickjs::String<'js>, JsValue<'js>>();
        let Some(mut property) = properties.next() else {
            // Sets and maps have no properties of their own, so plain data is spared the question.
            return match walk.js(items_of_collection(object))? {
                Some(items) => self.below(&items).serialize(to),
                None => to.serialize_map(None)?.end(),
            };
        };
        let mut map = to.serialize_map(None)?;
        loop {
            let (key, item) = walk.js(property)?;
            let key = walk.js(key.to_string())?;
            walk.charge(key.len())?;
            map.serialize_entry(&key, &self.below(&item))
                .map_err(|error| walk.passed(error, || format!(".{key}")))?;
            match properties.next() {
                Some(next) => property = next,
                None => break map.end(),
            }
        }
    }
}

/// The items of a set or a map, as an array.
fn items_of_collection<'js>(object: &Object<'js>) -> rquickjs::Result<Option<JsValue<'js>>> {
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

/// Puts a step in front of the place that a refusal names.
fn at(error: ExportError, step: &str) -> ExportError {
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
