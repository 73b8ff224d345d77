//! The tables as diesel sees them are the tables of the database.

use std::{collections::BTreeMap, fs};

use mesh_six_testing::TestDatabase;

type Tables = BTreeMap<String, Vec<(String, String)>>;

#[tokio::test]
async fn e_1_the_schema_in_the_code_is_the_schema_of_the_database() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    let columns = "SELECT table_name::text, column_name::text, udt_name::text, is_nullable::text \
        FROM information_schema.columns WHERE table_schema = 'public' ORDER BY table_name, ordinal_position";
    let expected = declared();
    let mut found = Tables::new();
    for row in client.query(columns, &[]).await.unwrap() {
        let (table, column, kind, nullable): (String, String, String, String) =
            (row.get(0), row.get(1), row.get(2), row.get(3));
        // Partitions and the tables that only the database's functions use are not for diesel.
        if !expected.contains_key(&table) {
            continue;
        }
        let kind = diesel_type(&kind);
        let kind = if nullable == "YES" { format!("Nullable<{kind}>") } else { kind };
        found.entry(table).or_default().push((column, kind));
    }
    assert_eq!(expected, found);
}

#[tokio::test]
async fn e_1_the_log_is_partitioned_by_month_and_has_its_indexes() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    let key = "SELECT pg_get_partkeydef('mesh_six_events'::regclass)";
    assert_eq!(client.query_one(key, &[]).await.unwrap().get::<_, String>(0), "RANGE (\"timestamp\")");
    let indexes = "SELECT indexdef FROM pg_indexes WHERE tablename = 'mesh_six_events' ORDER BY indexname";
    let indexes: Vec<String> = client.query(indexes, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
    insta::assert_snapshot!(indexes.join("\n"));
}

/// The `table!` blocks of the source.
fn declared() -> Tables {
    let source = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/schema.rs")).unwrap();
    let mut tables = Tables::new();
    let mut current = None;
    for line in source.lines().map(str::trim) {
        if let Some((name, _)) = line.split_once(" (").filter(|_| line.ends_with('{')) {
            current = Some(name.to_owned());
        } else if let (Some(table), Some((column, kind))) = (&current, line.split_once(" -> ")) {
            let column = (column.to_owned(), kind.trim_end_matches(',').to_owned());
            tables.entry(table.clone()).or_default().push(column);
        }
    }
    tables
}

fn diesel_type(name: &str) -> String {
    match name {
        "bool" => "Bool",
        "bytea" => "Bytea",
        "float8" => "Float8",
        "int4" => "Int4",
        "int8" => "Int8",
        "jsonb" => "Jsonb",
        "text" => "Text",
        "timestamptz" => "Timestamptz",
        "uuid" => "Uuid",
        "_text" => "Array<Text>",
        other => panic!("{other} is not used so far"),
    }
    .to_owned()
}
