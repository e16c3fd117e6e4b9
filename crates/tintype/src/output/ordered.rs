//! Streams of several sequences, printed one after the other while all of them run.

use std::io::{self, Write};

/// What stands around each stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Nothing but a line end.
    Plain,
    /// A header each, in the way of `head` with several files, and an empty line between them.
    Headers(Vec<String>),
}

/// Prints the first unfinished stream as it comes and holds the later ones back until their turn.
pub(crate) struct Ordered<W> {
    out: W,
    layout: Layout,
    held: Vec<Held>,
    /// The stream whose turn it is; all before it are finished.
    current: usize,
    started: bool,
    /// Whether the output ends with a line end, or is still empty.
    at_line_start: bool,
}

#[derive(Debug, Clone, Default)]
struct Held {
    text: String,
    finished: bool,
}

impl<W: Write> Ordered<W> {
    /// For `num_streams` streams, numbered from 0.
    pub(crate) fn new(out: W, layout: Layout, num_streams: usize) -> Self {
        let held = vec![Held::default(); num_streams];
        Self { out, layout, held, current: 0, started: false, at_line_start: true }
    }

    /// Adds to the end of one stream.
    pub(crate) fn push(&mut self, index: usize, text: &str) -> io::Result<()> {
        self.held[index].text.push_str(text);
        self.advance()
    }

    /// Ends one stream.
    pub(crate) fn finish(&mut self, index: usize) -> io::Result<()> {
        self.held[index].finished = true;
        self.advance()
    }

    /// Prints all that may be printed by now.
    fn advance(&mut self) -> io::Result<()> {
        while self.current < self.held.len() {
            let Held { text, finished } = std::mem::take(&mut self.held[self.current]);
            self.write(&text)?;
            if !finished {
                break;
            }
            // A stream that said nothing has a line as well: line n belongs to stream n.
            if self.at_line_start && !self.started {
                self.begin()?;
                self.at_line_start = false;
            }
            self.end_line()?;
            self.current += 1;
            self.started = false;
        }
        self.out.flush()
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        if !self.started {
            self.begin()?;
        }
        self.at_line_start = text.ends_with('\n');
        self.out.write_all(text.as_bytes())
    }

    /// What stands before the current stream.
    fn begin(&mut self) -> io::Result<()> {
        self.started = true;
        if let Layout::Headers(headers) = &self.layout {
            let gap = if self.current > 0 { "\n" } else { "" };
            writeln!(self.out, "{gap}==> {} <==", headers[self.current])?;
        }
        Ok(())
    }

    /// Nothing more comes: ends the line of an unfinished stream, and prints what is held back of
    /// those behind it.
    pub(crate) fn end(&mut self) -> io::Result<()> {
        while self.current < self.held.len() {
            let Held { text, .. } = std::mem::take(&mut self.held[self.current]);
            self.write(&text)?;
            self.end_line()?;
            self.current += 1;
            self.started = false;
        }
        self.out.flush()
    }

    fn end_line(&mut self) -> io::Result<()> {
        if !self.at_line_start {
            self.at_line_start = true;
            self.out.write_all(b"\n")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is printed after each event: (stream, text), or (stream, "end").
    fn printed(layout: Layout, num_streams: usize, events: &[(usize, &str)]) -> Vec<String> {
        let mut ordered = Ordered::new(Vec::new(), layout, num_streams);
        let mut outputs = Vec::new();
        for &(index, text) in events {
            match text {
                "end" => ordered.finish(index).unwrap(),
                _ => ordered.push(index, text).unwrap(),
            }
            outputs.push(String::from_utf8(ordered.out.clone()).unwrap());
        }
        outputs
    }

    #[test]
    fn the_first_stream_is_printed_as_it_comes() {
        let outputs = printed(Layout::Plain, 1, &[(0, "6"), (0, "25"), (0, "end")]);
        assert_eq!(outputs, ["6", "625", "625\n"]);
    }

    #[test]
    fn later_streams_wait_for_their_turn() {
        let events = [(1, "b"), (0, "a"), (1, "end"), (0, "end"), (2, "c"), (2, "end")];
        let outputs = printed(Layout::Plain, 3, &events);
        assert_eq!(outputs, ["", "a", "a", "a\nb\n", "a\nb\nc", "a\nb\nc\n"]);
    }

    #[test]
    fn headers_name_the_streams() {
        let headers = Layout::Headers(vec!["p".into(), "q".into()]);
        let outputs = printed(headers, 2, &[(1, "b"), (1, "end"), (0, "a"), (0, "end")]);
        assert_eq!(outputs.last().unwrap(), "==> p <==\na\n\n==> q <==\nb\n");
    }

    #[test]
    fn a_run_that_is_cut_short_loses_no_text() {
        let mut ordered = Ordered::new(Vec::new(), Layout::Plain, 4);
        ordered.push(0, "a").unwrap();
        ordered.push(1, "b").unwrap();
        ordered.finish(1).unwrap();
        ordered.push(3, "d").unwrap();
        ordered.end().unwrap();
        assert_eq!(ordered.out, b"a\nb\nd\n");
        ordered.end().unwrap();
        assert_eq!(ordered.out, b"a\nb\nd\n");
    }

    #[test]
    fn text_that_ends_its_line_gets_no_second_line_end() {
        assert_eq!(printed(Layout::Plain, 1, &[(0, "a\n"), (0, "end")]).last().unwrap(), "a\n");
    }

    #[test]
    fn a_stream_that_says_nothing_keeps_its_place() {
        let outputs = printed(Layout::Plain, 2, &[(0, "end"), (1, "b"), (1, "end")]);
        assert_eq!(outputs.last().unwrap(), "\nb\n");
        let headers = Layout::Headers(vec!["p".into(), "q".into()]);
        let outputs = printed(headers, 2, &[(0, "end"), (1, "end")]);
        assert_eq!(outputs.last().unwrap(), "==> p <==\n\n\n==> q <==\n\n");
    }
}
