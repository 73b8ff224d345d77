//! A command line that cannot be parsed: what clap says of it, in one line like every other error.

use std::{ffi::OsString, process::ExitCode};

use clap::{
    CommandFactory,
    error::{ContextKind, ContextValue, ErrorKind},
};
use mesh_six_core::{ApiError, ErrorType};

use crate::{
    cli::Cli,
    exit::{self, Exit},
};

/// Prints help and versions as they are, and an error as one line or as JSON.
pub(crate) fn report(error: &clap::Error) -> ExitCode {
    let help = error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
    if !error.use_stderr() || (help && !exit::wants_json()) {
        error.exit();
    }
    let message = if help { "a command is missing".to_owned() } else { told(&error.render().to_string()) };
    let message = format!("{message}; see `{} --help`", command(std::env::args_os().skip(1)));
    exit::report(&match argument(error) {
        Some(field) if exit::wants_json() => ApiError::validation(field, message).into(),
        // In a text the argument is in the message.
        _ if exit::wants_json() => ApiError::new(ErrorType::Validation, message).into(),
        _ => Exit::usage(message),
    })
}

/// What is wrong, without the usage and the hints that clap prints below it.
fn told(rendered: &str) -> String {
    let lines = rendered.lines().map(str::trim).filter(|line| !line.is_empty());
    let lines = lines.take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"));
    let mut told = String::new();
    for line in lines {
        let (between, line) = line.strip_prefix("tip: ").map_or((" ", line), |tip| ("; ", tip));
        told.push_str(between);
        told.push_str(line);
    }
    told.trim_start().trim_start_matches("error: ").to_owned()
}

/// The argument's name as it is typed: `--priority` of `--priority <PRIORITY>`.
fn argument(error: &clap::Error) -> Option<String> {
    let shown = match error.get(ContextKind::InvalidArg)? {
        ContextValue::String(one) => one,
        ContextValue::Strings(all) => all.first()?,
        _ => return None,
    };
    let name = shown.split(" <").next().unwrap_or(shown);
    Some(name.trim_matches(['<', '>', '[', ']']).to_owned())
}

/// The command that the line begins with, whose help tells more.
fn command(args: impl Iterator<Item = OsString>) -> String {
    let mut command = Cli::command();
    let mut path = command.get_name().to_owned();
    for arg in args {
        let Some(found) = command.find_subcommand(&arg).cloned() else { break };
        path = format!("{path} {}", found.get_name());
        command = found;
    }
    path
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn parse(args: &[&str]) -> (String, Option<String>, String) {
        let all = ["mesh-six"].iter().chain(args);
        let error = Cli::try_parse_from(all).map(|_| ()).map_err(|error| {
            let command = command(args.iter().map(OsString::from));
            (told(&error.render().to_string()), argument(&error), command)
        });
        error.err().unwrap_or_default()
    }

    #[test]
    fn one_line_names_the_argument_and_what_is_wanted() {
        for (args, says, field, command) in [
            (
                &["submit", "x", "--priority", "11"][..],
                "invalid value '11' for '--priority <PRIORITY>': a whole number from 0 to 10 is wanted",
                "--priority",
                "mesh-six submit",
            ),
            (&["submit"], "the following required arguments were not provided: <QUERY>", "QUERY", "mesh-six submit"),
            (
                &["events", "erase"],
                "the following required arguments were not provided: <--event <ID>|--task <ID>|--user <NAME>>",
                "--event",
                "mesh-six events erase",
            ),
            (
                &["tasks", "--limi", "3"],
                "unexpected argument '--limi' found; a similar argument exists: '--limit'",
                "--limi",
                "mesh-six tasks",
            ),
        ] {
            let told = parse(args);
            assert_eq!(told, (says.to_owned(), Some(field.to_owned()), command.to_owned()), "{args:?}");
        }
        let (told, _, command) = parse(&["completions", "klingon"]);
        assert!(told.contains("[possible values: bash,"), "{told}");
        assert_eq!(command, "mesh-six completions");
        assert_eq!(parse(&["nonsense"]).0, "unrecognized subcommand 'nonsense'");
    }
}
