//! `tintype generate`: prompts in, text or JSON out.

mod printer;
mod prompts;
mod stats;

use std::io;
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result, anyhow};
use tintype_graph::CapturePolicy;
use tintype_model::ModelFiles;
use tintype_ops::{ReadProbe, Stream};
use tintype_runner::{Engine, Request, SamplingParams};

use self::printer::Printer;
use self::prompts::{EncodedPrompts, Prompts};
use super::start::{report_missing, start};
use crate::args::{GenerateArgs, SamplingArgs};
use crate::console::Console;
use crate::device::{Job, with_stream};
use crate::interrupt::{Interrupt, Interrupted};
use crate::output::WRITING;

pub(super) fn run(args: GenerateArgs, console: &Console) -> Result<()> {
    let files = args.engine.model.model.open()?;
    let prompts = Prompts::read(&args.prompts, args.chat, &files)?;
    let params = args.sampling.params(&files.generation);
    let limits = args.engine.request_limits(&files)?;
    limits.check_params(&params)?;
    prompts.check(&limits)?;
    note_what_has_no_effect(&args.sampling, &params, console);
    let job = Generate { args: &args, prompts, files: &files, params, console };
    with_stream(args.engine.device, console, job)
}

/// At temperature 0 the most likely token is taken, whatever else was asked for.
fn note_what_has_no_effect(args: &SamplingArgs, params: &SamplingParams, console: &Console) {
    if params.temperature != 0.0 {
        return;
    }
    let flags = [
        ("--top-k", args.top_k.is_some()),
        ("--top-p", args.top_p.is_some()),
        ("--min-p", args.min_p.is_some()),
        ("--seed", args.seed.is_some()),
    ];
    for (flag, _) in flags.iter().filter(|(_, given)| *given) {
        console.line(format_args!("note: {flag} has no effect at temperature 0"));
    }
}

struct Generate<'a> {
    args: &'a GenerateArgs,
    prompts: Prompts<'a>,
    files: &'a ModelFiles,
    params: SamplingParams,
    console: &'a Console,
}

impl Job for Generate<'_> {
    type Output = ();

    fn run<S: Stream + ReadProbe>(self, stream: S) -> Result<()> {
        let (engine, prompts) = self.start(stream)?;
        let interrupt = Interrupt::install()?;
        let printer = self.printer(prompts);
        let mut run = Run { engine, printer };
        run.add_requests(&self.params)?;
        let num_notes = run.engine.capture_report().notes.len();
        let outcome = run.steps(&interrupt);
        // What an error or Ctrl-C cut short is printed all the same.
        run.printer.end().context(WRITING)?;
        run.note_what_was_cut(self.args.sampling.max_tokens.get(), self.console);
        // Those of the start were shown then.
        for note in run.engine.capture_report().notes.iter().skip(num_notes) {
            self.console.line(format_args!("note: {note}"));
        }
        if self.args.stats && !matches!(&outcome, Err(error) if !error.is::<Interrupted>()) {
            stats::report(&run.engine.stats(), self.args.json, self.console)?;
        }
        outcome
    }
}

impl Generate<'_> {
    /// Reads the tokenizer and encodes the prompts while the weights load.
    fn start<S: Stream>(&self, stream: S) -> Result<(Engine<S>, EncodedPrompts)> {
        let (engine, prompts) = thread::scope(|scope| {
            let prompts = scope.spawn(|| self.prompts.encode());
            let engine = start(
                stream,
                self.files,
                &self.args.engine,
                CapturePolicy::Background,
                self.console,
            );
            (engine, prompts.join())
        });
        let prompts = prompts.map_err(|_| anyhow!("the tokenizer panicked"))??;
        let mut engine = engine?;
        report_missing(&engine, self.console);
        match &prompts.tokenizer {
            Some(tokenizer) => engine.set_tokenizer(Arc::clone(tokenizer)),
            None => self.console.line("note: this model has no tokenizer; output is token ids"),
        }
        Ok((engine, prompts))
    }

    fn printer(&self, prompts: EncodedPrompts) -> Printer<io::StdoutLock<'static>> {
        let stdout = io::stdout().lock();
        if self.args.json {
            Printer::json(stdout, prompts.ids, self.params.logprobs.is_some())
        } else if prompts.tokenizer.is_some() {
            Printer::text(stdout, prompts.ids, self.prompts.headers())
        } else {
            Printer::ids(stdout, prompts.ids, self.prompts.headers())
        }
    }
}

struct Run<S: Stream, W> {
    engine: Engine<S>,
    printer: Printer<W>,
}

impl<S: Stream, W: io::Write> Run<S, W> {
    /// The engine numbers requests from 0, as prompts are numbered here.
    fn add_requests(&mut self, params: &SamplingParams) -> Result<()> {
        for (index, prompt_ids) in self.printer.prompts().enumerate() {
            let request = Request { prompt_ids: prompt_ids.to_vec(), params: params.clone() };
            self.engine.add_request(request).with_context(|| format!("prompt {index}"))?;
        }
        Ok(())
    }

    /// The longest sequence may be shorter than what was asked for.
    fn note_what_was_cut(&self, max_tokens: usize, console: &Console) {
        let max_model_len = self.engine.max_model_len();
        for (index, num_tokens) in self.printer.cut_below(max_tokens) {
            console.line(format_args!(
                "note: prompt {index} stopped at max_model_len {max_model_len}: asked {max_tokens} \
                 tokens, got {num_tokens}"
            ));
        }
    }

    fn steps(&mut self, interrupt: &Interrupt) -> Result<()> {
        while self.engine.has_unfinished() {
            if interrupt.requested() {
                return Err(self.printer.interrupted().into());
            }
            for output in self.engine.step()?.outputs {
                self.printer.print(output).context(WRITING)?;
            }
        }
        // A capture behind the last step may have failed.
        Ok(self.engine.synchronize()?)
    }
}
