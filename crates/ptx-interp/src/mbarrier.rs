//! The mbarrier object: a barrier in shared memory that counts arrivals and bytes.
//!
//! A phase completes when as many arrivals have come as were asked for at `init` and no bytes are
//! outstanding; the next phase starts in the same moment. A thread waits for a phase by its token
//! (what its arrival returned) or by its parity.

/// The most arrivals and the most bytes that an mbarrier counts.
pub(crate) const MAX_COUNT: u32 = (1 << 20) - 1;

/// State of one mbarrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mbarrier {
    /// Arrivals that each phase takes.
    expected: u32,
    /// Arrivals that the current phase still takes.
    pending: u32,
    /// Bytes that were announced less those that have landed; negative if they landed first.
    bytes: i64,
    /// Phases completed so far.
    phase: u64,
}

/// What an arrival returns: names the phase it belonged to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token(pub(crate) u64);

/// A use of an mbarrier that its rules forbid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MbarrierError {
    /// `init` with a count of 0 or beyond [`MAX_COUNT`].
    #[error("mbarrier.init with {0} arrivals; it takes 1 to {MAX_COUNT}")]
    InitCount(u32),
    /// More arrivals in a phase than `init` announced.
    #[error(
        "{found} arrivals at an mbarrier whose phase takes {pending} more of {expected}: \
         it is initialised with too few, or a thread arrives twice"
    )]
    OverArrival {
        /// Arrivals that came.
        found: u32,
        /// Arrivals that the phase still takes.
        pending: u32,
        /// Arrivals of a whole phase.
        expected: u32,
    },
    /// More outstanding bytes than the object counts.
    #[error("an mbarrier with {0} outstanding bytes; it counts {MAX_COUNT} at most")]
    ByteCount(i64),
    /// A wait for a phase other than the current one and the one before.
    #[error(
        "a wait for phase {found} of an mbarrier in phase {current}: only the current phase and \
         the one before can be waited for"
    )]
    StaleToken {
        /// The phase that the token names.
        found: u64,
        /// The current phase.
        current: u64,
    },
}

impl Mbarrier {
    /// `mbarrier.init`: each phase takes `count` arrivals.
    pub(crate) fn new(count: u32) -> Result<Self, MbarrierError> {
        if count == 0 || count > MAX_COUNT {
            return Err(MbarrierError::InitCount(count));
        }
        Ok(Self { expected: count, pending: count, bytes: 0, phase: 0 })
    }

    /// Phases completed so far.
    pub(crate) fn phase(&self) -> u64 {
        self.phase
    }

    /// Arrivals that the current phase still takes.
    pub(crate) fn pending(&self) -> u32 {
        self.pending
    }

    /// Bytes that were announced and have not landed; negative if bytes landed unannounced.
    pub(crate) fn outstanding_bytes(&self) -> i64 {
        self.bytes
    }

    /// `mbarrier.arrive` with a count. Returns the token of the phase arrived at.
    pub(crate) fn arrive(&mut self, count: u32) -> Result<Token, MbarrierError> {
        if count == 0 || count > self.pending {
            let (pending, expected) = (self.pending, self.expected);
            return Err(MbarrierError::OverArrival { found: count, pending, expected });
        }
        let token = Token(self.phase);
        self.pending -= count;
        self.complete_if_due();
        Ok(token)
    }

    /// `mbarrier.arrive_drop`: arrives, and takes part in no later phase.
    pub(crate) fn arrive_drop(&mut self, count: u32) -> Result<Token, MbarrierError> {
        self.expected = self.expected.saturating_sub(count);
        self.arrive(count)
    }

    /// `cp.async.mbarrier.arrive` without `.noinc`: one more arrival in this phase.
    pub(crate) fn expect_arrival(&mut self) -> Result<(), MbarrierError> {
        if self.pending == MAX_COUNT {
            return Err(MbarrierError::InitCount(self.pending + 1));
        }
        self.pending += 1;
        Ok(())
    }

    /// `mbarrier.expect_tx`: `bytes` more have to land in this phase.
    pub(crate) fn expect_bytes(&mut self, bytes: u32) -> Result<(), MbarrierError> {
        self.bytes += i64::from(bytes);
        self.check_bytes()
    }

    /// `mbarrier.complete_tx`, and what a bulk copy does when it lands.
    pub(crate) fn complete_bytes(&mut self, bytes: u32) -> Result<(), MbarrierError> {
        self.bytes -= i64::from(bytes);
        self.check_bytes()?;
        self.complete_if_due();
        Ok(())
    }

    fn check_bytes(&self) -> Result<(), MbarrierError> {
        if self.bytes.unsigned_abs() > u64::from(MAX_COUNT) {
            return Err(MbarrierError::ByteCount(self.bytes));
        }
        Ok(())
    }

    fn complete_if_due(&mut self) {
        if self.pending == 0 && self.bytes == 0 {
            self.phase += 1;
            self.pending = self.expected;
        }
    }

    /// `test_wait`: whether the phase of `token` has completed.
    pub(crate) fn is_complete(&self, token: Token) -> Result<bool, MbarrierError> {
        match self.phase.checked_sub(token.0) {
            Some(0) => Ok(false),
            Some(1) => Ok(true),
            _ => Err(MbarrierError::StaleToken { found: token.0, current: self.phase }),
        }
    }

    /// `test_wait.parity`: whether the phase of that parity, either the current one or the one
    /// before, has completed. The phase "before" the first counts as complete, with parity 1.
    pub(crate) fn is_parity_complete(&self, parity: u32) -> bool {
        self.phase & 1 != u64::from(parity & 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_takes_the_arrivals_of_init() {
        let mut barrier = Mbarrier::new(3).unwrap();
        let token = barrier.arrive(1).unwrap();
        barrier.arrive(1).unwrap();
        assert_eq!(barrier.is_complete(token), Ok(false));
        barrier.arrive(1).unwrap();
        assert_eq!(barrier.is_complete(token), Ok(true));
        assert_eq!(barrier.arrive(1), Ok(Token(1)));
        assert_eq!(barrier.pending(), 2, "each phase takes three again");
    }

    #[test]
    fn a_phase_waits_for_its_bytes_in_any_order() {
        let mut barrier = Mbarrier::new(1).unwrap();
        barrier.expect_bytes(64).unwrap();
        barrier.arrive(1).unwrap();
        assert!(!barrier.is_parity_complete(0));
        barrier.complete_bytes(48).unwrap();
        assert!(!barrier.is_parity_complete(0));
        barrier.complete_bytes(16).unwrap();
        assert!(barrier.is_parity_complete(0));
        // Bytes may land before they are announced, as long as an arrival is missing.
        barrier.complete_bytes(32).unwrap();
        assert_eq!(barrier.outstanding_bytes(), -32);
        barrier.expect_bytes(32).unwrap();
        assert!(!barrier.is_parity_complete(1));
        barrier.arrive(1).unwrap();
        assert!(barrier.is_parity_complete(1));
    }

    #[test]
    fn a_fresh_barrier_has_completed_the_odd_parity_only() {
        let barrier = Mbarrier::new(1).unwrap();
        assert!(!barrier.is_parity_complete(0));
        assert!(barrier.is_parity_complete(1));
    }

    #[test]
    fn one_arrival_too_many_is_an_error() {
        let mut barrier = Mbarrier::new(2).unwrap();
        barrier.expect_bytes(16).unwrap();
        barrier.arrive(2).unwrap();
        let error = barrier.arrive(1).unwrap_err();
        assert_eq!(error, MbarrierError::OverArrival { found: 1, pending: 0, expected: 2 });
        assert!(Mbarrier::new(2).unwrap().arrive(3).is_err());
    }

    #[test]
    fn counts_have_limits() {
        assert_eq!(Mbarrier::new(0), Err(MbarrierError::InitCount(0)));
        assert!(Mbarrier::new(MAX_COUNT + 1).is_err());
        let mut barrier = Mbarrier::new(1).unwrap();
        barrier.expect_bytes(MAX_COUNT).unwrap();
        assert_eq!(barrier.expect_bytes(1), Err(MbarrierError::ByteCount(1 << 20)));
    }

    #[test]
    fn an_old_token_is_an_error_not_an_answer() {
        let mut barrier = Mbarrier::new(1).unwrap();
        let first = barrier.arrive(1).unwrap();
        barrier.arrive(1).unwrap();
        assert!(matches!(barrier.is_complete(first), Err(MbarrierError::StaleToken { .. })));
        assert!(barrier.is_complete(Token(7)).is_err());
    }

    #[test]
    fn dropping_out_lowers_the_next_phases() {
        let mut barrier = Mbarrier::new(2).unwrap();
        barrier.arrive_drop(1).unwrap();
        barrier.arrive(1).unwrap();
        assert_eq!((barrier.phase(), barrier.pending()), (1, 1));
        barrier.expect_arrival().unwrap();
        assert_eq!(barrier.pending(), 2);
    }
}
