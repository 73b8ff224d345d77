//! `mesh-six dead-letters replay` and `discard`.

use std::{
    io::{IsTerminal, Write},
    process::ExitCode,
};

use mesh_six_core::ApiError;
use mesh_six_db::dead_letters::Letter;
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{page, short};
use crate::{
    cli::{ChosenLetters, DiscardLettersArgs, LetterConditions, ReplayLettersArgs},
    client::Client,
    exit::{Exit, FAILED},
    output,
};

/// Letters in one request, and on one page.
const AT_ONCE: u16 = 100;

/// What is to become of the letters.
#[derive(Clone, Copy)]
enum Decision {
    Replay { again: bool },
    Discard,
}

impl Decision {
    fn verb(self) -> &'static str {
        match self {
            Self::Replay { .. } => "replay",
            Self::Discard => "discard",
        }
    }

    fn done(self) -> &'static str {
        match self {
            Self::Replay { .. } => "replayed",
            Self::Discard => "discarded",
        }
    }

    fn body(self, ids: &[String]) -> Value {
        match self {
            Self::Replay { again } => json!({ "ids": ids, "again": again }),
            Self::Discard => json!({ "ids": ids }),
        }
    }
}

#[derive(Deserialize)]
struct Decisions {
    decisions: Vec<Decided>,
}

#[derive(Deserialize, Serialize)]
struct Decided {
    id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    letter: Option<Letter>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<ApiError>,
}

/// Sends letters again.
pub(crate) async fn replay(args: ReplayLettersArgs) -> anyhow::Result<ExitCode> {
    let client = Client::new(args.target)?;
    decide(&client, args.letters, Decision::Replay { again: args.again }, args.output.json).await
}

/// Takes letters out of the queue.
pub(crate) async fn discard(args: DiscardLettersArgs) -> anyhow::Result<ExitCode> {
    let client = Client::new(args.target)?;
    decide(&client, args.letters, Decision::Discard, args.output.json).await
}

async fn decide(client: &Client, chosen: ChosenLetters, what: Decision, json: bool) -> anyhow::Result<ExitCode> {
    let ids = if chosen.all {
        let ids = waiting(client, &chosen).await?;
        if ids.is_empty() {
            anstream::eprintln!("no dead letters are waiting");
            return Ok(ExitCode::SUCCESS);
        }
        if !chosen.yes && !confirmed(&format!("{} {} dead letters?", what.verb(), ids.len()))? {
            anstream::eprintln!("nothing was done");
            return Ok(ExitCode::from(FAILED));
        }
        ids
    } else {
        let LetterConditions { topic, app, since } = &chosen.conditions;
        if topic.is_some() || app.is_some() || since.is_some() {
            return Err(Exit::usage("--topic, --app and --since go with --all"));
        }
        chosen.ids
    };
    let (mut done, mut refused) = (0_usize, 0_usize);
    for some in ids.chunks(usize::from(AT_ONCE)) {
        let path = format!("/api/v1/dead-letters/{}", what.verb());
        let request = client.request(Method::POST, &path).json(&what.body(some));
        let answer: Decisions = client.send(request).await?.json().await.map_err(|e| client.unreachable(&e))?;
        for decided in &answer.decisions {
            if decided.error.is_none() {
                done += 1;
            } else {
                refused += 1;
            }
            if json {
                output::json(decided)?;
            } else {
                output::print_line(&line(decided, what))?;
            }
        }
    }
    if !json && done + refused > 1 {
        output::print_line(&format!("{done} {}, {refused} refused", what.done()))?;
    }
    Ok(if refused == 0 { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

fn line(decided: &Decided, what: Decision) -> String {
    match (&decided.letter, &decided.error) {
        (_, Some(error)) => format!("{}  refused: {}", short(&decided.id), output::plain(&error.message)),
        (Some(letter), None) => {
            let way = if let Decision::Replay { .. } = what { "to" } else { "from" };
            format!("{}  {} {way} {}", short(&letter.id), what.done(), output::plain(&letter.topic))
        }
        (None, None) => format!("{}  {}", short(&decided.id), what.done()),
    }
}

/// All letters that wait and meet the conditions. Only these are decided about: what comes in meanwhile has been
/// seen by nobody.
async fn waiting(client: &Client, chosen: &ChosenLetters) -> anyhow::Result<Vec<String>> {
    let (mut ids, mut after) = (Vec::new(), None);
    loop {
        let page = page(client, &chosen.conditions, Some("waiting"), AT_ONCE, after.as_deref()).await?;
        ids.extend(page.letters.into_iter().map(|letter| letter.id));
        after = page.next;
        if after.is_none() {
            return Ok(ids);
        }
    }
}

/// Asks on the terminal; without one nobody can be asked.
fn confirmed(question: &str) -> anyhow::Result<bool> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(Exit::usage(format!("{question} nobody can be asked here, so say --yes")));
    }
    anstream::eprint!("{question} [y/N] ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    stdin.read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
