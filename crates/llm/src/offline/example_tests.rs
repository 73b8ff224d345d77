use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use proptest::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::schema::Checker;

const NOTICE: &str = "No model is configured.";

/// The value for `schema`, which must satisfy it, formats included, and be the same each time.
fn checked(schema: &Value) -> Value {
    let value = example(schema, NOTICE).unwrap_or_else(|| panic!("no value for {schema}"));
    assert_eq!(Some(&value), example(schema, NOTICE).as_ref());
    Checker::new("test", schema).unwrap().check(&value).unwrap_or_else(|v| panic!("{v:?}: {value} for {schema}"));
    let strict = jsonschema::options().should_validate_formats(true).build(schema).unwrap();
    assert!(strict.is_valid(&value), "{value} for {schema}");
    value
}

fn of<T: JsonSchema + DeserializeOwned>() -> T {
    let value = checked(schemars::schema_for!(T).as_value());
    serde_json::from_value(value).unwrap()
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema counts")]
struct Everything {
    id: Uuid,
    at: DateTime<Utc>,
    text: String,
    maybe: Option<String>,
    small: u8,
    large: i64,
    ratio: f64,
    yes: bool,
    tuple: (u32, String, bool),
    fixed: [i16; 3],
    map: BTreeMap<String, u64>,
    set: BTreeSet<String>,
    nested: Vec<Verdict>,
    plain: Severity,
    any: Value,
    #[schemars(range(min = 0.1, max = 0.9))]
    confidence: f64,
    #[schemars(range(min = 3, max = 5))]
    stars: i32,
    #[schemars(length(min = 30, max = 40))]
    long: String,
    #[schemars(length(max = 4))]
    short: String,
    #[schemars(length(min = 2))]
    several: Vec<Verdict>,
    #[schemars(regex(pattern = r"^v\d+\.\d+(-[a-z]{3,8})?$"))]
    version: String,
    #[schemars(email)]
    email: String,
    #[schemars(url)]
    url: String,
}

#[derive(Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Severity {
    Low,
    High,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "camelCase")]
#[expect(dead_code, reason = "only its schema counts")]
enum Verdict {
    Rejected { concerns: Vec<String>, severity: Severity },
    Approved,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[expect(dead_code, reason = "only its schema counts")]
enum Expression {
    Sum(Box<Expression>, Box<Expression>),
    Negated { of: Box<Expression> },
    Number(i64),
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema counts")]
enum Loose {
    Counted { count: u32 },
    Named(String),
}

#[derive(Debug, Deserialize, JsonSchema)]
#[expect(dead_code, reason = "only its schema counts")]
struct Flat {
    name: String,
    #[serde(flatten)]
    verdict: Verdict,
    #[serde(flatten)]
    loose: Loose,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Tree {
    children: Vec<Tree>,
    parent: Option<Box<Tree>>,
}

#[test]
fn types_of_every_sort_get_a_value_that_reads_back() {
    let all: Everything = of();
    assert_eq!(all.text, NOTICE);
    assert_eq!(all.several.len(), 2);
    assert_eq!(of::<Severity>(), Severity::Low);
    of::<Verdict>();
    of::<Loose>();
    of::<Flat>();
    of::<Vec<Everything>>();
    of::<BTreeMap<String, Verdict>>();
    of::<mesh_six_core::Usage>();
    of::<mesh_six_core::event::catalogue::LlmCall>();
}

#[test]
fn recursion_ends_at_the_shallowest_value() {
    assert!(matches!(of::<Expression>(), Expression::Number(0)));
    let tree: Tree = of();
    assert!(tree.children.is_empty() && tree.parent.is_none());
}

#[test]
fn keywords_that_people_write_by_hand() {
    for schema in [
        json!(true),
        json!({}),
        json!({"const": {"a": [1]}}),
        json!({"enum": [null, 3]}),
        json!({"type": ["null", "string"]}),
        json!({"properties": {"a": {"type": "null"}}, "required": ["a", "b"]}),
        json!({"type": "object", "minProperties": 2, "properties": {"a": {"const": 1}}}),
        json!({"type": "object", "minProperties": 1, "additionalProperties": false, "patternProperties": {"^x-[a-z]+$": {"type": "integer"}}}),
        json!({"type": "object", "minProperties": 2, "propertyNames": {"maxLength": 6, "pattern": "^[a-z]{2,}$"}}),
        json!({"type": "array", "minItems": 3, "uniqueItems": true, "items": {"enum": ["a", "b", "c"]}}),
        json!({"type": "array", "minItems": 3, "uniqueItems": true, "items": {"type": "string", "format": "uuid"}}),
        json!({"type": "array", "contains": {"const": 7}, "minContains": 2}),
        json!({"prefixItems": [{"type": "boolean"}], "minItems": 2}),
        json!({"type": "integer", "exclusiveMinimum": 1.5, "multipleOf": 4}),
        json!({"type": "integer", "maximum": -7}),
        json!({"type": "integer", "maximum": -7, "multipleOf": 5}),
        json!({"type": "integer", "minimum": 18_446_744_073_709_551_615_u64}),
        json!({"type": "number", "exclusiveMinimum": 0.25, "exclusiveMaximum": 0.5}),
        json!({"type": "number", "minimum": 0.3, "multipleOf": 0.25}),
        json!({"allOf": [{"type": "number", "minimum": 2}, {"type": "integer", "minimum": 1, "maximum": 9}]}),
        json!({"anyOf": [{"a": 1, "enum": []}, {"type": "boolean"}]}),
        json!({"oneOf": [false, {"$ref": "#/$defs/x"}], "$defs": {"x": {"minLength": 50, "type": "string"}}}),
        json!({"type": "string", "pattern": "^(?:[A-Z]{2}|\\w+)-\\d{4,}$", "minLength": 12, "maxLength": 14}),
        json!({"type": "string", "pattern": "[^\\s]"}),
    ] {
        checked(&schema);
    }
    for format in [
        "date-time",
        "date",
        "time",
        "duration",
        "uuid",
        "email",
        "hostname",
        "ipv4",
        "ipv6",
        "uri",
        "uri-reference",
        "json-pointer",
        "regex",
    ] {
        checked(&json!({"type": "string", "format": format}));
    }
}

#[test]
fn an_impossible_schema_has_no_value_and_ends_soon() {
    for schema in [
        json!(false),
        json!({"enum": []}),
        json!({"type": "integer", "minimum": 3, "maximum": 2}),
        json!({"type": "array", "minItems": 1_000_000_000}),
        json!({"type": "string", "minLength": 1_000_000_000}),
        json!({"type": "string", "pattern": "(?=x)y"}),
        json!({"$ref": "#"}),
        json!({"$ref": "https://example.com/schema"}),
        json!({"$ref": "#/$defs/a", "$defs": {"a": {"required": ["b", "c"], "properties": {"b": {"$ref": "#/$defs/a"}, "c": {"$ref": "#/$defs/a"}}}}}),
    ] {
        assert_eq!(example(&schema, NOTICE), None, "{schema}");
    }
}

/// Schemas built from the keywords that bound values, nested.
fn schemas() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!({"type": "boolean"})),
        Just(json!({"type": "null"})),
        Just(json!({"enum": ["x", "y"]})),
        (-50_i64..50, 0_i64..50)
            .prop_map(|(min, more)| json!({"type": "integer", "minimum": min, "maximum": min + more})),
        (-5.0_f64..5.0, 0.01_f64..3.0)
            .prop_map(|(min, more)| json!({"type": "number", "exclusiveMinimum": min, "maximum": min + more})),
        (0_u64..80, 0_u64..40)
            .prop_map(|(min, more)| json!({"type": "string", "minLength": min, "maxLength": min + more})),
        (1_u64..5).prop_map(|n| json!({"type": "string", "pattern": format!("^[a-f]{{{n},}}-\\d{{{n}}}$")})),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            (inner.clone(), 0_u64..3, prop::bool::ANY)
                .prop_map(|(items, min, refer)| if refer {
                    json!({"type": "array", "items": {"allOf": [items, true]}, "minItems": min})
                } else {
                    json!({"type": "array", "items": items, "minItems": min})
                }),
            (prop::collection::btree_map("[a-d]", inner.clone(), 0..4), 0_usize..4).prop_map(|(properties, required)| {
                let required: Vec<String> = properties.keys().take(required).cloned().collect();
                json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
            }),
            prop::collection::vec(inner, 1..3).prop_map(|any| json!({"anyOf": any})),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn a_value_is_found_for_every_schema_that_has_one(schema in schemas()) {
        checked(&schema);
    }
}
