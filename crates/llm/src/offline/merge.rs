//! Making one schema of two that must both hold.

use serde_json::{Map, Value, json};

/// A schema that holds where both hold, as far as values are built from it.
pub(super) fn merge(mut base: Map<String, Value>, more: &Map<String, Value>) -> Map<String, Value> {
    for (key, new) in more {
        let Some(old) = base.remove(key) else {
            base.insert(key.clone(), new.clone());
            continue;
        };
        let merged = match key.as_str() {
            "properties" | "patternProperties" | "$defs" | "definitions" => each(old, new),
            "items" | "additionalProperties" => both(old, new),
            "required" | "allOf" => union(old, new),
            "enum" => common(old, new),
            "type" => common_type(&old, new),
            "minimum" | "exclusiveMinimum" | "minLength" | "minItems" | "minProperties" => {
                stricter(old, new, |a, b| a > b)
            }
            "maximum" | "exclusiveMaximum" | "maxLength" | "maxItems" | "maxProperties" => {
                stricter(old, new, |a, b| a < b)
            }
            "oneOf" | "anyOf" => pairs(&old, new),
            "$ref" if old != *new => {
                // Two references cannot stand in one object, but in its allOf.
                let all = base.remove("allOf").unwrap_or_else(|| json!([]));
                base.insert("allOf".to_owned(), union(all, &json!([{"$ref": new}])));
                old
            }
            _ => new.clone(),
        };
        base.insert(key.clone(), merged);
    }
    base
}

fn each(old: Value, new: &Value) -> Value {
    let (Value::Object(mut old), Value::Object(new)) = (old, new) else { return new.clone() };
    for (name, schema) in new {
        let merged = match old.remove(name) {
            Some(before) => both(before, schema),
            None => schema.clone(),
        };
        old.insert(name.clone(), merged);
    }
    Value::Object(old)
}

fn both(old: Value, new: &Value) -> Value {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => Value::Object(merge(old, new)),
        (Value::Bool(true), new) => new.clone(),
        (old, Value::Bool(true)) => old,
        _ => Value::Bool(false),
    }
}

fn union(old: Value, new: &Value) -> Value {
    let (Value::Array(mut old), Value::Array(new)) = (old, new) else { return new.clone() };
    for item in new {
        if !old.contains(item) {
            old.push(item.clone());
        }
    }
    Value::Array(old)
}

fn common(old: Value, new: &Value) -> Value {
    let (Value::Array(old), Value::Array(new)) = (old, new) else { return new.clone() };
    old.into_iter().filter(|item| new.contains(item)).collect()
}

fn common_type(old: &Value, new: &Value) -> Value {
    let list = |types: &Value| match types {
        Value::Array(types) => types.clone(),
        one => vec![one.clone()],
    };
    let (old, new) = (list(old), list(new));
    let within = |name: &Value, others: &[Value]| {
        others.contains(name) || (name == "integer" && others.contains(&json!("number")))
    };
    let mut out: Vec<Value> = old.iter().filter(|name| within(name, &new)).cloned().collect();
    out.extend(new.iter().filter(|name| !out.contains(name) && within(name, &old)).cloned().collect::<Vec<_>>());
    Value::Array(out)
}

fn stricter(old: Value, new: &Value, wins: impl Fn(f64, f64) -> bool) -> Value {
    match (old.as_f64(), new.as_f64()) {
        (Some(a), Some(b)) if wins(a, b) => old,
        _ => new.clone(),
    }
}

fn pairs(old: &Value, new: &Value) -> Value {
    let (Value::Array(old), Value::Array(new)) = (old, new) else { return new.clone() };
    old.iter().flat_map(|a| new.iter().map(move |b| json!({"allOf": [a, b]}))).collect()
}
