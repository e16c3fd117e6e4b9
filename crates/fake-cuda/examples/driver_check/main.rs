//! Asks a driver what the fake driver believes that drivers answer, and prints the differences.
//!
//! `driver_check [LIBRARY]` runs every row of the model against the library, by default against
//! `libcuda.so.1`, i.e. the real driver, and prints a line for each row that differs: row,
//! expected, found. `driver_check --table` prints the model as the tables of
//! `docs/cuda-driver-model.md`.
//!
//! Rows run in child processes, since a fault stays with its process.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod api;
mod gpu;
mod inside;
mod row;
mod rows;

use std::collections::BTreeMap;
use std::process::{Command, ExitCode};

use gpu::{Gpu, NON_BLOCKING};
use row::{Check, Row};

/// The argument that makes a child of this program.
const CHILD: &str = "--rows";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--table"] => table(),
        [CHILD, library, ref ids @ ..] => return child(library, ids),
        [library] => return compare(library),
        [] => return compare("libcuda.so.1"),
        _ => {
            eprintln!("usage: driver_check [LIBRARY | --table]");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn all() -> impl Iterator<Item = &'static Row> {
    rows::AREAS.iter().flat_map(|(_, rows)| rows.iter())
}

/// Prints the model.
fn table() {
    for (title, rows) in rows::AREAS {
        println!("### {title}\n\n| row | rule | answer | source | seen |\n|---|---|---|---|---|");
        for row in *rows {
            let (source, seen) = row.source.columns();
            let stricter =
                row.fake.map_or(String::new(), |fake| format!("; the fake driver: {fake}"));
            println!(
                "| {} | {} | {}{stricter} | {source} | {seen} |",
                row.id, row.rule, row.driver
            );
        }
        println!();
    }
}

/// Rows that can share a process, by what they need of its streams; the others by themselves.
fn batches() -> Vec<Vec<&'static str>> {
    let (mut shared, mut blocking, mut alone) = (Vec::new(), Vec::new(), Vec::new());
    for row in all() {
        match row.check {
            Check::Shared(_) => shared.push(row.id),
            Check::Blocking(_) => blocking.push(row.id),
            Check::Alone(_) => alone.push(vec![row.id]),
        }
    }
    [vec![shared, blocking], alone].concat()
}

/// Runs the named rows in this process; a line for each: row, tab, what was found.
fn child(library: &str, ids: &[&str]) -> ExitCode {
    let wanted: Vec<&Row> = all().filter(|row| ids.contains(&row.id)).collect();
    let blocking = wanted.iter().any(|row| matches!(row.check, Check::Blocking(_)));
    let gpu = match Gpu::open(library, if blocking { 0 } else { NON_BLOCKING }) {
        Ok(gpu) => gpu,
        Err(error) => {
            eprintln!("{library}: {error}");
            return ExitCode::FAILURE;
        }
    };
    println!("fake\t{}", gpu.api.is_fake);
    for row in wanted {
        let (Check::Shared(check) | Check::Blocking(check) | Check::Alone(check)) = row.check;
        println!("{}\t{}", row.id, check(&gpu));
    }
    ExitCode::SUCCESS
}

/// Runs every row in children and prints what differs.
fn compare(library: &str) -> ExitCode {
    let mut found = BTreeMap::new();
    for ids in batches() {
        match run(library, &ids) {
            Ok(lines) => found.extend(lines),
            Err(error) => eprintln!("{}: {error}", ids.join(" ")),
        }
    }
    let is_fake = found.get("fake").is_some_and(|fake| fake == "true");
    let mut num_different = 0;
    for row in all() {
        let found = found.get(row.id).map_or("no answer", String::as_str);
        let expected = row.expected(is_fake);
        if found != expected {
            num_different += 1;
            println!("{}, expected {expected}, found {found}", row.id);
        }
    }
    println!("{} rows, {num_different} differences", all().count());
    if num_different == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs rows in a child process.
fn run(library: &str, ids: &[&str]) -> Result<BTreeMap<String, String>, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new(program).arg(CHILD).arg(library).args(ids).output();
    let output = output.map_err(|error| error.to_string())?;
    if !output.status.success() {
        eprint!("{}", String::from_utf8_lossy(&output.stderr));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let lines = text.lines().filter_map(|line| line.split_once('\t'));
    Ok(lines.map(|(id, found)| (id.to_owned(), found.to_owned())).collect())
}
