//! Plain tables: aligned columns, no lines, as `kubectl` prints them.

use comfy_table::{ContentArrangement, Table, presets::NOTHING};

/// Prints rows under `header`; where there are none, says `nothing` on stderr instead, which is no result.
pub(crate) fn print_or(nothing: &str, header: &[&str], rows: Vec<Vec<String>>) -> anyhow::Result<()> {
    if rows.is_empty() {
        anstream::eprintln!("{nothing}");
        return Ok(());
    }
    print(header, rows)
}

/// Prints rows under `header`.
pub(crate) fn print(header: &[&str], rows: Vec<Vec<String>>) -> anyhow::Result<()> {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    // Names and reasons come from strangers.
    table
        .set_header(header)
        .add_rows(rows.into_iter().map(|row| row.iter().map(|cell| super::plain(cell)).collect::<Vec<_>>()));
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    for line in table.lines() {
        super::print_line(line.trim_end())?;
    }
    Ok(())
}
