//! Which blocks of the paged KV cache are free, and who holds the others.

/// Hands out the blocks of the KV cache. A block is either free or in one sequence's block table.
#[derive(Debug)]
pub(crate) struct BlockManager {
    /// Tokens in a block.
    block_size: usize,
    num_blocks: usize,
    /// Taken from the end, so the block freed last, which caches still hold, is used next.
    free: Vec<u32>,
}

impl BlockManager {
    pub(crate) fn new(num_blocks: u32, block_size: u32) -> Self {
        Self {
            block_size: block_size as usize,
            num_blocks: num_blocks as usize,
            free: (0..num_blocks).rev().collect(),
        }
    }

    pub(crate) fn num_free(&self) -> usize {
        self.free.len()
    }

    pub(crate) fn num_blocks(&self) -> usize {
        self.num_blocks
    }

    /// Blocks that `num_tokens` tokens take.
    pub(crate) fn blocks_for(&self, num_tokens: usize) -> usize {
        num_tokens.div_ceil(self.block_size)
    }

    /// Blocks that `table` lacks for `num_tokens` tokens.
    pub(crate) fn missing(&self, table: &[u32], num_tokens: usize) -> usize {
        self.blocks_for(num_tokens).saturating_sub(table.len())
    }

    /// Makes `table` large enough for `num_tokens` tokens. Takes nothing and says `false` when
    /// there are too few free blocks.
    pub(crate) fn grow(&mut self, table: &mut Vec<u32>, num_tokens: usize) -> bool {
        let missing = self.missing(table, num_tokens);
        let Some(kept) = self.free.len().checked_sub(missing) else { return false };
        table.extend(self.free.drain(kept..).rev());
        true
    }

    /// Takes back every block of `table`.
    pub(crate) fn release(&mut self, table: &mut Vec<u32>) {
        self.free.extend(table.drain(..).rev());
        debug_assert!(self.free.len() <= self.num_blocks, "a block was returned twice");
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tables_grow_by_whole_blocks() {
        let mut blocks = BlockManager::new(4, 16);
        let mut table = Vec::new();
        for (num_tokens, num_blocks) in [(0, 0), (1, 1), (16, 1), (17, 2), (5, 2), (64, 4)] {
            assert!(blocks.grow(&mut table, num_tokens));
            assert_eq!(table.len(), num_blocks, "{num_tokens} tokens");
        }
        assert!(!blocks.grow(&mut table, 65));
        assert_eq!((table.len(), blocks.num_free()), (4, 0));
    }

    #[test]
    fn a_refusal_takes_nothing() {
        let mut blocks = BlockManager::new(3, 1);
        let (mut first, mut second) = (Vec::new(), Vec::new());
        assert!(blocks.grow(&mut first, 2));
        assert!(!blocks.grow(&mut second, 2));
        assert_eq!((second.len(), blocks.num_free()), (0, 1));
        blocks.release(&mut first);
        assert!(blocks.grow(&mut second, 2));
    }

    proptest! {
        #[test]
        fn blocks_are_never_shared_and_all_come_back(
            steps in prop::collection::vec((0usize..6, 0usize..60), 1..200),
            num_blocks in 1u32..30,
            block_size in 1u32..9,
        ) {
            let mut blocks = BlockManager::new(num_blocks, block_size);
            let mut tables = vec![Vec::new(); 6];
            for (index, num_tokens) in steps {
                if num_tokens == 0 {
                    blocks.release(&mut tables[index]);
                } else if blocks.grow(&mut tables[index], num_tokens) {
                    prop_assert!(tables[index].len() * block_size as usize >= num_tokens);
                }
                let held: Vec<u32> = tables.concat();
                let distinct: BTreeSet<u32> = held.iter().chain(&blocks.free).copied().collect();
                prop_assert_eq!(distinct.len(), num_blocks as usize);
                prop_assert_eq!(held.len() + blocks.num_free(), num_blocks as usize);
                prop_assert!(distinct.iter().all(|&block| block < num_blocks));
            }
            tables.iter_mut().for_each(|table| blocks.release(table));
            prop_assert_eq!(blocks.num_free(), num_blocks as usize);
        }
    }
}
