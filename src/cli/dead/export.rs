//! `sluice dead export`: letters with everything, a line each.

use std::io::{BufWriter, Write as _};
use std::ops::ControlFlow;
use std::path::PathBuf;

use clap::ValueHint;
use tokio_util::sync::CancellationToken;

use super::{PATIENCE, Session, bar, compiled, not_seen, pile, progress, require_selection, who, within_session};
use crate::audit;
use crate::cli::Error;
use crate::clock;
use crate::config::ConfigFile;
use crate::dead_letters::export;
use crate::dead_letters::filter::Filter;
use crate::dead_letters::look::LookStep;
use crate::words;

/// Write dead letters with everything as NDJSON; they stay where they are
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "`sluice publish` puts exported letters back, byte for byte and with their history; once, for a\n\
    letter that is still there would then be there twice, under one id.\n\n\
    Examples:\n  sluice dead export px-prod --all > letters.ndjson\n  sluice dead export px-prod --reason rejected --to letters.ndjson"
)]
pub(super) struct Args {
    /// The destination's name
    destination: String,
    #[command(flatten)]
    filter: Filter,
    /// All letters
    #[arg(long)]
    all: bool,
    /// The file to write, instead of standard output
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    to: Option<PathBuf>,
    /// Letters in the trash instead
    #[arg(long)]
    trash: bool,
}

pub(super) async fn run(args: Args, file: &ConfigFile, stop: CancellationToken) -> Result<(), Error> {
    require_selection(&args.filter, args.all)?;
    let matcher = compiled(&args.filter)?;
    let session = Session::open(file).await?;
    within_session(session, &stop, async |session| {
        let letters = session.letters(&args.destination, file)?;
        let bar = bar(false);
        let progress = progress(&bar);
        let mut out = Output::new(&args)?;
        let mut failed = None;
        let seen = letters.look(pile(args.trash), &matcher, PATIENCE, &progress, |step| {
            let written = match step {
                LookStep::Anew => out.begin(),
                LookStep::Letter(_, message) => out.line(&export::line(message, &args.destination)),
            };
            failed = written.err();
            if failed.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        let seen = seen.await.map_err(|error| not_seen(&error))?;
        bar.finish_and_clear();
        failed.map_or(Ok(()), Err)?;
        let entry = audit::Entry {
            at: clock::wall(),
            operation: audit::operation_id(),
            by: who(),
            place: None,
            destination: args.destination.clone(),
            act: "export".to_owned(),
            filter: args.filter.to_string(),
            count: seen.matched,
            outcome: Some(format!("{} exported", words::letters(seen.matched))),
            mark: None,
        };
        letters.record(&entry).await.map_err(|error| Error::Failed(format!("the audit cannot be written: {error}")))?;
        out.end()?;
        let exported = words::letters(seen.matched);
        writeln!(std::io::stderr(), "{exported} exported of the {} that were there", seen.there)?;
        if let Some(trouble) = seen.trouble {
            writeln!(std::io::stderr(), "{trouble}")?;
        }
        Ok(())
    })
    .await
}

/// Where the lines go: in full, or not at all. Standard output is written once the letters have been let go.
struct Output {
    file: BufWriter<tempfile::NamedTempFile>,
    to: Option<PathBuf>,
}

impl Output {
    fn new(args: &Args) -> Result<Self, Error> {
        let folder = args.to.as_ref().and_then(|to| to.parent()).filter(|folder| !folder.as_os_str().is_empty());
        let file = match (folder, &args.to) {
            (Some(folder), _) => tempfile::NamedTempFile::new_in(folder),
            (None, Some(_)) => tempfile::NamedTempFile::new_in("."),
            (None, None) => tempfile::NamedTempFile::new(),
        };
        let named = |error: std::io::Error| match &args.to {
            Some(to) => Error::Failed(format!("{}: {error}", to.display())),
            None => Error::Io(error),
        };
        Ok(Self { file: BufWriter::new(file.map_err(named)?), to: args.to.clone() })
    }

    fn begin(&mut self) -> std::io::Result<()> {
        use std::io::Seek as _;
        self.file.rewind()?;
        self.file.get_mut().as_file_mut().set_len(0)
    }

    fn line(&mut self, line: &str) -> std::io::Result<()> {
        self.file.write_all(line.as_bytes())?;
        self.file.write_all(b"\n")
    }

    fn end(self) -> Result<(), Error> {
        let file = self.file.into_inner().map_err(|error| Error::Io(error.into_error()))?;
        match self.to {
            Some(to) => {
                file.persist(&to).map_err(|error| Error::Failed(format!("{}: {}", to.display(), error.error)))?;
            }
            None => drop(std::io::copy(&mut file.reopen()?, &mut std::io::stdout())?),
        }
        Ok(())
    }
}
