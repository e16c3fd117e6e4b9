//! The last few ways to share out a product, so that the layers of a step, whose products have the
//! same few shapes, search for each once.

use std::cell::RefCell;
use std::collections::VecDeque;

use super::gemm::Split;

/// More than the shapes of the products of a step.
const CAPACITY: usize = 8;

/// What was found for each shape: tokens, and rows and columns of the weight. All on one chip, with
/// one workspace.
#[derive(Debug, Default)]
pub(crate) struct RecentSplits(RefCell<VecDeque<([u32; 3], Option<Split>)>>);

impl RecentSplits {
    /// What was found for `shape`, or finds it.
    pub(crate) fn get(&self, shape: [u32; 3], find: &dyn Fn() -> Option<Split>) -> Option<Split> {
        let mut recent = self.0.borrow_mut();
        if let Some((_, split)) = recent.iter().find(|(known, _)| *known == shape) {
            return *split;
        }
        let split = find();
        recent.truncate(CAPACITY - 1);
        recent.push_front((shape, split));
        split
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_shape_is_searched_for_once_while_it_is_recent() {
        let (splits, searches) = (RecentSplits::default(), Cell::new(0));
        let find = || {
            searches.set(searches.get() + 1);
            None
        };
        let get = |tokens| {
            assert!(splits.get([tokens, 64, 64], &find).is_none());
            searches.get()
        };
        assert_eq!([get(1), get(2), get(1), get(2)], [1, 2, 2, 2]);
        let others = CAPACITY as u32;
        (0..others).for_each(|other| _ = get(10 + other));
        assert_eq!(get(10), 2 + others, "the oldest of them is still there");
        assert_eq!(get(1), 3 + others, "what was before them is not");
    }
}
