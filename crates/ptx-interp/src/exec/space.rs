//! State spaces, and where they lie in the generic address space.

/// A state space that instructions name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Space {
    Global,
    Shared,
    Local,
    Param,
    /// Whichever of the others the address points to.
    Generic,
}

/// Generic addresses say in their upper bits to which space they belong; those of global memory
/// have zeros there.
const TAG_SHIFT: u32 = 60;

/// Bits of an address in shared memory that are an offset; those above say whose memory it is.
const OFFSET_BITS: u32 = 24;

impl Space {
    /// What to add to an address of this space to make it generic.
    pub(crate) const fn window(self) -> u64 {
        let tag = match self {
            Self::Global | Self::Generic => 0,
            Self::Shared => 1,
            Self::Local => 2,
            Self::Param => 3,
        };
        tag << TAG_SHIFT
    }

    /// The space of a generic address, and the address in it.
    #[inline(always)]
    pub(crate) fn of(address: u64) -> (Self, u64) {
        let space = match address >> TAG_SHIFT {
            1 => Self::Shared,
            2 => Self::Local,
            3 => Self::Param,
            _ => return (Self::Global, address),
        };
        (space, address - space.window())
    }
}

/// The address of a byte in the shared memory of the block with that rank in the cluster. Ranks
/// that no cluster has, as in lanes that do not take part, give an address that none has either.
pub(crate) fn shared_of(rank: u32, offset: u32) -> u32 {
    ((rank.min(254) + 1) << OFFSET_BITS) | (offset & ((1 << OFFSET_BITS) - 1))
}

/// The rank of the block that a shared address points to, and the offset in its memory. Offsets
/// alone point to the memory of the block itself, whose rank is `own`.
#[inline(always)]
pub(crate) fn shared_at(address: u32, own: u32) -> (u32, u32) {
    match address >> OFFSET_BITS {
        0 => (own, address),
        rank => (rank - 1, address & ((1 << OFFSET_BITS) - 1)),
    }
}
