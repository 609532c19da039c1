//! What the example programs do alike: arguments, exit status, figures for machines.

use std::error::Error;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use serde::Serialize;

/// The exit status of a program that ran, or 2 and a line of what is wrong.
pub(crate) fn exit(name: &str, ran: Result<u8, Box<dyn Error>>) -> ExitCode {
    match ran {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("{name}: {error}");
            ExitCode::from(2)
        }
    }
}

/// The arguments; or the exit status where help, a version or a fault has been printed.
pub(crate) fn arguments<A: Parser>(
    from: impl IntoIterator<Item = OsString>,
) -> std::io::Result<Result<A, u8>> {
    match A::try_parse_from(from) {
        Ok(arguments) => Ok(Ok(arguments)),
        // Help and version are no errors; clap knows where each is to be printed.
        Err(error) => {
            error.print()?;
            Ok(Err(error.exit_code() as u8))
        }
    }
}

/// Writes `figures` as JSON.
pub(crate) fn write_json(file: &Path, figures: &impl Serialize) -> Result<(), Box<dyn Error>> {
    let json = serde_json::to_string_pretty(figures)?;
    Ok(std::fs::write(file, json + "\n").map_err(|error| format!("{}: {error}", file.display()))?)
}
