//! `mesh-six dead-letters list`.

use std::process::ExitCode;

use mesh_six_db::dead_letters::Letter;

use super::{page, short};
use crate::{cli::ListLettersArgs, client::Client, output};

/// Characters of a reason that have room in a line.
const REASON: usize = 60;

/// Prints what waits, or what else was asked for.
pub(crate) async fn run(args: ListLettersArgs) -> anyhow::Result<ExitCode> {
    let client = Client::new(args.target)?;
    let state = Some(args.state.as_str()).filter(|state| *state != "all");
    let page = page(&client, &args.conditions, state, args.limit, None).await?;
    if args.output.json {
        for letter in &page.letters {
            output::json(letter)?;
        }
    } else {
        let nothing = format!("no dead letters{}", state.map(|s| format!(" are {s}")).unwrap_or_default());
        let header = ["LETTER", "STATE", "TRIES", "APP", "TOPIC", "FAILED (UTC)", "REASON"];
        output::table::print_or(&nothing, &header, page.letters.iter().map(row).collect())?;
    }
    if page.next.is_some() {
        anstream::eprintln!("there are more: narrow them down with --topic, --app or --since, or raise --limit");
    }
    Ok(ExitCode::SUCCESS)
}

fn row(letter: &Letter) -> Vec<String> {
    vec![
        short(&letter.id).to_owned(),
        letter.state.as_str().to_owned(),
        letter.tries.to_string(),
        output::plain(&letter.app_id),
        output::plain(&letter.topic),
        letter.last_at.format("%Y-%m-%d %H:%M:%S").to_string(),
        mesh_six_core::text::shortened(&output::plain(&letter.reason), REASON),
    ]
}
