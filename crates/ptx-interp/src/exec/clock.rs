//! Vector clocks: which accesses of other warps are known to be over.

/// What a warp knows of the warps of its cluster.
///
/// A cluster counts its synchronisations; every warp stamps its accesses with the count of its
/// own latest one. A warp has seen another's accesses up to a stamp when a barrier that both took
/// part in (or a chain of them) says so.
#[derive(Debug)]
pub(crate) struct Clock {
    /// The warp's index in its cluster.
    id: usize,
    num_warps: usize,
    /// Stamp up to which the accesses of each warp are over, and behind the warps those of
    /// asynchronous copies; then for each of these the stamp up to which a proxy fence lies
    /// behind its writes, so that asynchronous copies find them.
    seen: Vec<u32>,
    /// Stamp of the warp's accesses.
    stamp: u32,
    /// Accesses of warps with this stamp or a smaller one are over.
    floor: u32,
}

impl Clock {
    /// The clock of warp `id` of `num_warps` before any synchronisation.
    pub(crate) fn new(id: usize, num_warps: usize) -> Self {
        Self { id, num_warps, seen: vec![0; 2 * (num_warps + 1)], stamp: 1, floor: 0 }
    }

    /// Starts over, as for a new block.
    pub(crate) fn reset(&mut self) {
        self.seen.fill(0);
        self.stamp = 1;
        self.floor = 0;
    }

    pub(crate) fn id(&self) -> usize {
        self.id
    }

    #[inline(always)]
    pub(crate) fn stamp(&self) -> u32 {
        self.stamp
    }

    /// Accesses of any warp with this stamp or a smaller one are over. Always below the warp's own
    /// stamp.
    #[inline(always)]
    pub(crate) fn floor(&self) -> u32 {
        self.floor
    }

    /// Whether an access that `warp` stamped is over, or is this warp's own.
    #[inline]
    pub(crate) fn is_over(&self, warp: usize, stamp: u32) -> bool {
        warp == self.id || stamp <= self.seen[warp]
    }

    /// Whether a write that `warp` stamped is over, with a proxy fence behind it.
    pub(crate) fn is_fenced(&self, warp: usize, stamp: u32) -> bool {
        stamp <= self.seen[self.num_warps + 1 + warp]
    }

    /// Whether that is a warp, and not the index of asynchronous copies.
    pub(crate) fn is_warp(&self, warp: usize) -> bool {
        warp < self.num_warps
    }

    /// A proxy fence: asynchronous copies find all writes that are over, and the warp's own.
    /// Later accesses are stamped with `stamp`, which is new.
    pub(crate) fn fence(&mut self, stamp: u32) {
        self.seen[self.id] = self.stamp;
        let (over, fenced) = self.seen.split_at_mut(self.num_warps + 1);
        for (fenced, over) in fenced.iter_mut().zip(over) {
            *fenced = (*fenced).max(*over);
        }
        self.advance(stamp);
    }

    /// Tells `to` all that this warp knows, its own accesses included.
    pub(crate) fn release(&mut self, to: &mut Vec<u32>) {
        self.seen[self.id] = self.stamp;
        to.resize(self.seen.len(), 0);
        for (to, seen) in to.iter_mut().zip(&self.seen) {
            *to = (*to).max(*seen);
        }
    }

    /// Learns what others released.
    pub(crate) fn acquire(&mut self, from: &[u32]) {
        for (seen, from) in self.seen.iter_mut().zip(from) {
            *seen = (*seen).max(*from);
        }
        self.find_floor();
    }

    /// Stamps later accesses with `stamp`, which is new.
    pub(crate) fn advance(&mut self, stamp: u32) {
        self.stamp = stamp;
        self.find_floor();
    }

    fn find_floor(&mut self) {
        let warps = self.seen[..self.num_warps].iter().enumerate();
        let others = warps.filter(|(warp, _)| *warp != self.id);
        let others = others.map(|(_, seen)| *seen).min();
        self.floor = others.unwrap_or(u32::MAX).min(self.stamp - 1);
    }
}
