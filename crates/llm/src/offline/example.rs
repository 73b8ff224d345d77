//! A value that satisfies a JSON schema.
//!
//! Covers what schemars writes and what people write by hand: references, recursion, enum, const, oneOf, anyOf,
//! allOf, and the bounds of strings, numbers, arrays and objects. `not` and `if` are left to luck.

use serde_json::{Map, Value};

use super::{merge::merge, scalar};

/// Deepest value that is tried. The shallowest that works is taken, so recursion ends by itself.
const MAX_DEPTH: usize = 24;
/// Longest array or object that is built; a schema that wants more gets none.
const MAX_ITEMS: u64 = 1_000;

/// A value for `schema`, always the same; `notice` is what free texts say. `None` where none was found.
pub(super) fn example(schema: &Value, notice: &str) -> Option<Value> {
    let builder = Builder { root: schema, notice };
    (1..=MAX_DEPTH).find_map(|depth| builder.build(schema, depth, 0))
}

struct Builder<'a> {
    root: &'a Value,
    notice: &'a str,
}

impl Builder<'_> {
    /// `nth` tells equal items of one array apart.
    fn build(&self, schema: &Value, depth: usize, nth: u64) -> Option<Value> {
        let depth = depth.checked_sub(1)?;
        match schema {
            Value::Bool(true) => Some(Value::from(self.notice)),
            Value::Object(map) => self.build_map(map, depth, nth),
            _ => None,
        }
    }

    fn build_map(&self, schema: &Map<String, Value>, depth: usize, nth: u64) -> Option<Value> {
        let mut schema = schema.clone();
        if let Some(reference) = schema.remove("$ref") {
            let target = self.resolve(reference.as_str()?)?;
            return self.both(schema, target, depth, nth);
        }
        if let Some(Value::Array(all)) = schema.remove("allOf") {
            for part in &all {
                schema = match part {
                    Value::Bool(true) => schema,
                    Value::Object(part) => merge(schema, part),
                    _ => return None,
                };
            }
            return self.build(&Value::Object(schema), depth, nth);
        }
        for choice in ["oneOf", "anyOf"] {
            if let Some(Value::Array(alternatives)) = schema.remove(choice) {
                return alternatives.iter().find_map(|one| self.both(schema.clone(), one, depth, nth));
            }
        }
        if let Some(value) = schema.get("const") {
            return Some(value.clone());
        }
        if let Some(Value::Array(values)) = schema.get("enum") {
            return values.get(usize::try_from(nth).ok()? % values.len().max(1)).cloned();
        }
        self.typed(&schema, depth, nth)
    }

    fn both(&self, schema: Map<String, Value>, also: &Value, depth: usize, nth: u64) -> Option<Value> {
        match also {
            Value::Bool(true) => self.build(&Value::Object(schema), depth, nth),
            Value::Object(also) => self.build(&Value::Object(merge(schema, also)), depth, nth),
            _ => None,
        }
    }

    fn typed(&self, schema: &Map<String, Value>, depth: usize, nth: u64) -> Option<Value> {
        match type_of(schema)? {
            "null" => Some(Value::Null),
            "boolean" => Some(Value::Bool(nth % 2 == 1)),
            "integer" => scalar::integer(schema, nth),
            "number" => scalar::number(schema, nth),
            "string" => scalar::string(schema, self.notice, nth).map(Value::String),
            "array" => self.array(schema, depth),
            "object" => self.object(schema, depth),
            _ => None,
        }
    }

    fn array(&self, schema: &Map<String, Value>, depth: usize) -> Option<Value> {
        let first = schema.get("prefixItems").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let any = Value::Bool(true);
        let (items, contained) = (schema.get("items").unwrap_or(&any), schema.get("contains"));
        let contains = contained.map_or(0, |_| size(schema, "minContains").unwrap_or(1));
        let count = size(schema, "minItems").unwrap_or(0).max(contains);
        if count > MAX_ITEMS {
            return None;
        }
        let item = |nth: u64| {
            let place = usize::try_from(nth).ok()?;
            let schema = first.get(place).or(contained.filter(|_| nth < contains)).unwrap_or(items);
            self.build(schema, depth, nth)
        };
        (0..count).map(item).collect::<Option<Vec<Value>>>().map(Value::Array)
    }

    fn object(&self, schema: &Map<String, Value>, depth: usize) -> Option<Value> {
        let none = Map::new();
        let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&none);
        let required = schema.get("required").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let least = size(schema, "minProperties").unwrap_or(0);
        if least > MAX_ITEMS {
            return None;
        }
        let mut out = Map::new();
        for name in required {
            let name = name.as_str()?;
            let value = match properties.get(name) {
                Some(property) => self.build(property, depth, 0)?,
                None => self.build(&extra(schema)?, depth, 0)?,
            };
            out.insert(name.to_owned(), value);
        }
        let enough = |out: &Map<String, Value>| out.len() as u64 >= least;
        for (name, property) in properties {
            if !enough(&out)
                && !out.contains_key(name)
                && let Some(value) = self.build(property, depth, 0)
            {
                out.insert(name.clone(), value);
            }
        }
        for nth in 0..least {
            if !enough(&out) {
                let name = self.extra_name(schema, depth, nth)?;
                out.insert(name, self.build(&extra(schema)?, depth, nth)?);
            }
        }
        enough(&out).then_some(Value::Object(out))
    }

    fn extra_name(&self, schema: &Map<String, Value>, depth: usize, nth: u64) -> Option<String> {
        if let Some((pattern, _)) = pattern_property(schema) {
            let mut named = Map::new();
            named.insert("pattern".to_owned(), Value::from(pattern.as_str()));
            return scalar::string(&named, self.notice, nth);
        }
        match schema.get("propertyNames") {
            Some(Value::Object(names)) => {
                let mut names = names.clone();
                names.insert("type".to_owned(), Value::from("string"));
                self.build(&Value::Object(names), depth, nth)?.as_str().map(str::to_owned)
            }
            _ => Some(format!("key{nth}")),
        }
    }

    fn resolve(&self, reference: &str) -> Option<&Value> {
        self.root.pointer(reference.strip_prefix('#')?)
    }
}

/// The schema of properties that have no schema of their own.
fn extra(schema: &Map<String, Value>) -> Option<Value> {
    match (pattern_property(schema), schema.get("additionalProperties")) {
        (Some((_, schema)), _) | (None, Some(schema)) => (*schema != Value::Bool(false)).then(|| schema.clone()),
        (None, None) => Some(Value::Bool(true)),
    }
}

fn pattern_property(schema: &Map<String, Value>) -> Option<(&String, &Value)> {
    schema.get("patternProperties")?.as_object()?.iter().next()
}

fn size(schema: &Map<String, Value>, key: &str) -> Option<u64> {
    let value = schema.get(key)?;
    value.as_u64().or_else(|| value.as_f64().filter(|n| *n >= 0.0).map(scalar::whole))
}

/// The type that is built: the first one named, or the one that the other keywords speak of.
fn type_of(schema: &Map<String, Value>) -> Option<&str> {
    match schema.get("type") {
        Some(Value::Array(types)) => return types.first()?.as_str(),
        Some(name) => return name.as_str(),
        None => {}
    }
    let speaks_of = |keys: &[&str]| keys.iter().any(|key| schema.contains_key(*key));
    if speaks_of(&["properties", "required", "minProperties", "additionalProperties", "patternProperties"]) {
        return Some("object");
    }
    if speaks_of(&["items", "prefixItems", "minItems", "contains"]) {
        return Some("array");
    }
    if speaks_of(&["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"]) {
        return Some("number");
    }
    Some("string")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that cannot go on should fail there")]
#[path = "example_tests.rs"]
mod tests;
