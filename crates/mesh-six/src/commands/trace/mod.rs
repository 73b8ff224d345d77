//! `mesh-six trace`: a task's waterfall, from the event log alone.

mod draw;
mod load;

use std::process::ExitCode;

use mesh_six_core::{event::spans::spans, time};

use crate::{cli::TraceArgs, client::Client, output};

/// Draws the spans, or prints one a line as JSON.
pub(crate) async fn run(args: TraceArgs) -> anyhow::Result<ExitCode> {
    let client = Client::new(args.target)?;
    let loaded = load::events(&client, args.id).await?;
    let spans = spans(&loaded.events);
    if args.output.json {
        for span in &spans {
            output::json(span)?;
        }
    } else {
        for line in draw::head(&loaded.events, &spans) {
            output::print_line(&line)?;
        }
        for line in draw::waterfall(&spans, time::now(), output::width()) {
            output::print_line(&line)?;
        }
    }
    if loaded.more {
        anstream::eprintln!("only the first {} events were read; there are more", loaded.events.len());
    }
    Ok(ExitCode::SUCCESS)
}
