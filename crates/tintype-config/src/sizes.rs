//! The batch sizes for which graphs exist.

use crate::ConfigError;

/// The largest batch, in tokens, for which a graph can be captured.
///
/// It bounds the padding table and the ladder of default sizes, so that a slip of the keyboard
/// cannot exhaust memory.
pub const MAX_CAPTURE_SIZE: usize = 1 << 20;

/// Capture sizes in tokens: ascending, unique, each within 1..=[`MAX_CAPTURE_SIZE`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CaptureSizes {
    sizes: Vec<usize>,
    /// `padded[n]` = the smallest size >= n, for n up to the largest size.
    padded: Vec<u32>,
}

impl CaptureSizes {
    /// Sorts and merges `sizes`. No size at all is a valid choice: nothing is captured.
    ///
    /// # Errors
    /// A size of 0, or above [`MAX_CAPTURE_SIZE`].
    pub fn new(sizes: impl IntoIterator<Item = usize>) -> Result<Self, ConfigError> {
        let mut sizes: Vec<usize> = sizes.into_iter().collect();
        sizes.sort_unstable();
        sizes.dedup();
        if sizes.first() == Some(&0) {
            let problem = "a batch of 0 tokens cannot be captured; remove the 0";
            return Err(ConfigError::value("cudagraph_capture_sizes", 0, problem));
        }
        match sizes.last() {
            Some(&largest) if largest > MAX_CAPTURE_SIZE => {
                let problem = format!("at most {MAX_CAPTURE_SIZE} tokens can be captured");
                Err(ConfigError::value("cudagraph_capture_sizes", largest, problem))
            }
            _ => Ok(Self { padded: padding_table(&sizes), sizes }),
        }
    }

    /// The smallest size that holds `num_tokens`; `None` above the largest. A table lookup.
    pub fn pad_to(&self, num_tokens: usize) -> Option<usize> {
        self.padded.get(num_tokens).map(|&size| size as usize)
    }

    /// The largest size, if there is any.
    pub fn largest(&self) -> Option<usize> {
        self.sizes.last().copied()
    }

    /// The sizes, smallest first; `.rev()` for the order of capture.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = usize> + ExactSizeIterator + '_ {
        self.sizes.iter().copied()
    }

    /// The sizes, smallest first.
    pub fn as_slice(&self) -> &[usize] {
        &self.sizes
    }

    /// How many sizes there are.
    pub fn len(&self) -> usize {
        self.sizes.len()
    }

    /// Whether there is no size, so that nothing is captured.
    pub fn is_empty(&self) -> bool {
        self.sizes.is_empty()
    }
}

/// The sizes that cover batches up to `largest` tokens when the user lists none.
///
/// Dense where decode batches are, coarser above. `largest` itself is always a size, and so is
/// `max_num_seqs` where it fits: the full decode batch is the one that a loaded engine runs most.
pub(crate) fn ladder(largest: usize, max_num_seqs: usize) -> Vec<usize> {
    let fine = [1, 2, 4].into_iter().chain((8..=256).step_by(8));
    let coarse = (272..=largest).step_by(16);
    fine.chain(coarse).chain([largest, max_num_seqs]).filter(|&size| size <= largest).collect()
}

fn padding_table(sizes: &[usize]) -> Vec<u32> {
    let Some(&largest) = sizes.last() else { return Vec::new() };
    let mut table = Vec::with_capacity(largest + 1);
    for &size in sizes {
        let entry = u32::try_from(size).expect("no size is above MAX_CAPTURE_SIZE");
        table.resize(size + 1, entry);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_sorted_and_merged() {
        let sizes = CaptureSizes::new([8, 1, 4, 8, 2, 1]).unwrap();
        assert_eq!(sizes.as_slice(), [1, 2, 4, 8]);
        assert_eq!(sizes.iter().rev().collect::<Vec<_>>(), [8, 4, 2, 1]);
        assert_eq!((sizes.len(), sizes.largest(), sizes.is_empty()), (4, Some(8), false));
    }

    #[test]
    fn padding_is_the_least_upper_bound() {
        let sizes = CaptureSizes::new([2, 5]).unwrap();
        let padded: Vec<_> = (0..=6).map(|n| sizes.pad_to(n)).collect();
        assert_eq!(padded, [Some(2), Some(2), Some(2), Some(5), Some(5), Some(5), None]);
        assert_eq!(sizes.pad_to(usize::MAX), None);
    }

    #[test]
    fn no_sizes_pad_nothing() {
        let sizes = CaptureSizes::default();
        assert_eq!((sizes.pad_to(0), sizes.largest(), sizes.len()), (None, None, 0));
        assert_eq!(CaptureSizes::new([]).unwrap(), sizes);
    }

    #[test]
    fn impossible_sizes_are_refused() {
        let zero = CaptureSizes::new([4, 0]).unwrap_err().to_string();
        assert!(zero.contains("0 tokens cannot be captured"), "{zero}");
        let huge = CaptureSizes::new([4, usize::MAX]).unwrap_err().to_string();
        assert!(huge.contains("at most 1048576 tokens"), "{huge}");
        assert!(CaptureSizes::new([MAX_CAPTURE_SIZE]).is_ok());
    }
}
