//! The last lines that a task logged, kept beside the log so that its failure
//! can tell them.

use std::collections::VecDeque;
use std::fmt::Write as _;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Span, Subscriber};
use tracing_subscriber::Registry;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

/// The name of the spans whose lines are kept, each its own: attempts at tasks.
pub const TASK: &str = "task";

/// Lines kept of a span.
pub const MOST_LINES: usize = 200;
/// Bytes kept of a span.
pub const MOST_BYTES: usize = 32 << 10;
/// Bytes kept of a line; a longer one is cut.
const LONGEST: usize = 4 << 10;

/// The last lines of the present task's span, oldest first; none outside of one,
/// or where nothing is logged.
#[must_use]
pub fn of_task() -> Vec<String> {
    let of = |(id, dispatch): (&Id, &tracing::Dispatch)| {
        let span = dispatch.downcast_ref::<Registry>()?.span(id)?;
        span.scope().find_map(|s| s.extensions().get::<Ring>().map(|r| r.lines.clone()))
    };
    Span::current().with_subscriber(of).flatten().map(Vec::from).unwrap_or_default()
}

/// Keeps the lines of each task; goes beside the layer that writes the log.
pub(crate) struct Lines;

#[derive(Default)]
struct Ring {
    lines: VecDeque<String>,
    bytes: usize,
}

impl Ring {
    fn push(&mut self, line: String) {
        self.bytes += line.len();
        self.lines.push_back(line);
        while self.lines.len() > MOST_LINES || self.bytes > MOST_BYTES {
            self.bytes -= self.lines.pop_front().map_or(0, |line| line.len());
        }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Lines {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if attributes.metadata().name() == TASK
            && let Some(span) = context.span(id)
        {
            span.extensions_mut().insert(Ring::default());
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let Some(scope) = context.event_scope(event) else { return };
        for span in scope {
            if let Some(ring) = span.extensions_mut().get_mut::<Ring>() {
                return ring.push(line(event));
            }
        }
    }
}

/// Time, level, origin, message and fields of an event.
fn line(event: &Event<'_>) -> String {
    let mut text = String::new();
    let _ = SystemTime.format_time(&mut Writer::new(&mut text));
    let about = event.metadata();
    let _ = write!(text, " {} {}:", about.level(), about.target());
    event.record(&mut Words(&mut text));
    if text.len() > LONGEST {
        text.truncate(text.floor_char_boundary(LONGEST));
        text.push_str(" ...");
    }
    // One line, whatever a message holds.
    text.replace('\n', " ")
}

struct Words<'a>(&'a mut String);

impl Visit for Words<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let _ = match field.name() {
            "message" => write!(self.0, " {value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EnvFilter, logs};

    /// Runs `work` in the span of a task; returns the lines kept of it.
    fn kept(level: &str, work: impl FnOnce()) -> Vec<String> {
        let logs = logs(false, EnvFilter::new(level), std::io::sink);
        tracing::subscriber::with_default(logs, || {
            let span = tracing::error_span!("task", task = "a");
            span.in_scope(|| {
                work();
                of_task()
            })
        })
    }

    #[test]
    fn a_task_has_its_own_lines_and_those_of_its_parts() {
        let lines = kept("warn", || {
            tracing::info!(shard = 3, "begins");
            tracing::info_span!("part").in_scope(|| tracing::warn!("in\na part"));
            tracing::error_span!("task").in_scope(|| tracing::warn!("a neighbour"));
            tracing::debug!("too little to keep");
        });
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].contains(" INFO ") && lines[0].ends_with("begins shard=3"), "{lines:?}");
        assert!(lines[1].contains(" WARN ") && lines[1].ends_with("in a part"), "{lines:?}");
        assert!(of_task().is_empty(), "outside of a task");
    }

    #[test]
    fn the_last_lines_are_kept_and_no_more_than_a_few() {
        let lines = kept("info", || (0..1000).for_each(|n| tracing::info!("line {n}")));
        assert_eq!(lines.len(), MOST_LINES);
        assert!(lines[0].ends_with("line 800") && lines[199].ends_with("line 999"), "{lines:?}");
        let long = "é".repeat(10 << 10);
        let lines = kept("info", || (0..100).for_each(|n| tracing::info!("line {n} {long}")));
        let bytes: usize = lines.iter().map(String::len).sum();
        assert!(lines.len() >= 7 && bytes <= MOST_BYTES, "{} lines, {bytes} bytes", lines.len());
        assert!(lines.last().unwrap().contains("line 99 é"));
    }
}
