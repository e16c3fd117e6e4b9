//! How much a host can do behind a step: while the device works on it and before its tokens are
//! waited for.

use std::time::Duration;

use crate::batch::BatchShape;

/// A download takes about as long as this where the device has nothing left to do.
const IDLE_DOWNLOAD: Duration = Duration::from_micros(50);

/// What is known of the time that the device is busy after a step was queued.
///
/// The step before says: what the host did behind it, and how long it waited then, are that time
/// if the shape is the same. If it did not have to wait, it did too much, and nothing is known.
/// On a backend that runs ops when they are queued, that is always so.
#[derive(Debug, Default)]
pub(crate) struct Slack {
    last: Option<(BatchShape, Duration)>,
}

impl Slack {
    /// How long the host can work behind a step of this shape without holding it up; 0 where that
    /// is not known.
    pub(crate) fn behind(&self, shape: BatchShape) -> Duration {
        match self.last {
            Some((last, busy)) if last == shape => busy,
            _ => Duration::ZERO,
        }
    }

    /// A step of this shape ran. The host `worked` behind it, then `waited` for its tokens.
    pub(crate) fn measured(&mut self, shape: BatchShape, worked: Duration, waited: Duration) {
        self.last = (waited > IDLE_DOWNLOAD).then(|| (shape, worked + waited));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DECODE: BatchShape = BatchShape { num_tokens: 8, num_seqs: 8, decode: true };

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_step_leaves_what_the_one_before_it_left() {
        let mut slack = Slack::default();
        assert_eq!(slack.behind(DECODE), Duration::ZERO, "nothing is known yet");
        slack.measured(DECODE, ms(1), ms(3));
        assert_eq!(slack.behind(DECODE), ms(4));
        slack.measured(DECODE, ms(3), ms(1));
        assert_eq!(slack.behind(DECODE), ms(4));
    }

    #[test]
    fn another_shape_says_nothing() {
        let mut slack = Slack::default();
        slack.measured(BatchShape { num_tokens: 2048, ..DECODE }, ms(1), ms(60));
        assert_eq!(slack.behind(DECODE), Duration::ZERO);
    }

    /// Else one slow capture would count as slack, and the next step would be given as much work.
    #[test]
    fn a_step_that_was_held_up_says_nothing() {
        let mut slack = Slack::default();
        slack.measured(DECODE, ms(1), ms(3));
        slack.measured(DECODE, ms(17), Duration::from_micros(20));
        assert_eq!(slack.behind(DECODE), Duration::ZERO);
    }
}
