//! The registers of a warp: one value for each of its 32 lanes.
//!
//! Every register has a mask of the lanes in which something has written it. Arithmetic passes
//! undefined lanes on to its result, as compilers may compute with values that they drop later;
//! only a use that has an effect (a branch, an address, a store to global memory) is a fault.

/// Lanes of a warp.
pub(crate) const NUM_LANES: usize = 32;

/// What a register holds in one lane: 32 bits (also for 8- and 16-bit registers, whose upper bits
/// are zero), 64 bits, or a predicate.
pub(crate) trait Lane: Copy + Send + Sync + Sized + 'static {
    /// The values of all lanes.
    type Vector: Copy + Send + Sync;
    /// What a register holds before anything was written to it.
    const UNWRITTEN: Self::Vector;
    /// The kind of register.
    const KIND: Kind;

    /// The value in one lane.
    fn get(vector: &Self::Vector, lane: usize) -> Self;
    /// The values that `f` gives for lanes 0 to 31.
    fn collect(f: impl Fn(usize) -> Self) -> Self::Vector;
    /// Copies the lanes of `mask`.
    fn blend(into: &mut Self::Vector, mask: u32, from: &Self::Vector);
    /// The registers of this kind.
    fn file(registers: &Registers) -> &File<Self>;
    /// The registers of this kind.
    fn file_mut(registers: &mut Registers) -> &mut File<Self>;
}

/// Bit of each lane in a mask. Indexing a table is what compilers turn into vector code.
const BITS: [u32; NUM_LANES] = {
    let mut bits = [0; NUM_LANES];
    let mut lane = 0;
    while lane < NUM_LANES {
        bits[lane] = 1 << lane;
        lane += 1;
    }
    bits
};

macro_rules! integer_lane {
    ($type:ty, $kind:ident, $file:ident) => {
        impl Lane for $type {
            type Vector = [$type; NUM_LANES];
            const UNWRITTEN: Self::Vector = [!0; NUM_LANES];
            const KIND: Kind = Kind::$kind;

            #[inline(always)]
            fn get(vector: &Self::Vector, lane: usize) -> Self {
                vector[lane]
            }

            #[inline(always)]
            fn collect(f: impl Fn(usize) -> Self) -> Self::Vector {
                let mut vector = [0; NUM_LANES];
                for lane in 0..NUM_LANES {
                    vector[lane] = f(lane);
                }
                vector
            }

            fn blend(into: &mut Self::Vector, mask: u32, from: &Self::Vector) {
                if mask == !0 {
                    *into = *from;
                    return;
                }
                for lane in 0..NUM_LANES {
                    let keep = if mask & BITS[lane] != 0 { 0 } else { <$type>::MAX };
                    into[lane] = (into[lane] & keep) | (from[lane] & !keep);
                }
            }

            #[inline(always)]
            fn file(registers: &Registers) -> &File<Self> {
                &registers.$file
            }

            #[inline(always)]
            fn file_mut(registers: &mut Registers) -> &mut File<Self> {
                &mut registers.$file
            }
        }
    };
}

integer_lane!(u32, Word, words);
integer_lane!(u64, Double, doubles);

impl Lane for bool {
    type Vector = u32;
    const UNWRITTEN: u32 = 0;
    const KIND: Kind = Kind::Predicate;

    #[inline(always)]
    fn get(vector: &u32, lane: usize) -> Self {
        vector & BITS[lane] != 0
    }

    #[inline(always)]
    fn collect(f: impl Fn(usize) -> Self) -> u32 {
        let mut vector = 0;
        for (lane, bit) in BITS.iter().enumerate() {
            vector |= if f(lane) { *bit } else { 0 };
        }
        vector
    }

    #[inline(always)]
    fn blend(into: &mut u32, mask: u32, from: &u32) {
        *into = (*into & !mask) | (from & mask);
    }

    #[inline(always)]
    fn file(registers: &Registers) -> &File<Self> {
        &registers.predicates
    }

    #[inline(always)]
    fn file_mut(registers: &mut Registers) -> &mut File<Self> {
        &mut registers.predicates
    }
}

/// The kinds of registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// 8, 16 or 32 bits.
    Word,
    /// 64 bits.
    Double,
    /// A predicate.
    Predicate,
}

/// A register of any kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Register {
    pub(crate) kind: Kind,
    /// Width as declared; 1 for a predicate.
    pub(crate) bits: u32,
    pub(crate) index: u32,
}

impl Register {
    /// The register as one of kind `T`, if it is.
    pub(crate) fn slot<T: Lane>(self) -> Option<Slot<T>> {
        (self.kind == T::KIND).then(|| Slot::new(self.index))
    }
}

/// One register of the kind `T`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot<T> {
    index: u32,
    kind: std::marker::PhantomData<T>,
}

impl<T: Lane> Slot<T> {
    pub(crate) fn new(index: u32) -> Self {
        Self { index, kind: std::marker::PhantomData }
    }

    /// The register, of the usual width of its kind.
    pub(crate) fn register(self) -> Register {
        let bits = match T::KIND {
            Kind::Predicate => 1,
            Kind::Word => 32,
            Kind::Double => 64,
        };
        Register { kind: T::KIND, bits, index: self.index }
    }

    #[inline(always)]
    fn index(self) -> usize {
        self.index as usize
    }
}

/// All registers of one kind, and the lanes in which each was written.
#[derive(Debug, Default)]
pub(crate) struct File<T: Lane> {
    values: Vec<T::Vector>,
    defined: Vec<u32>,
}

impl<T: Lane> File<T> {
    /// Makes room for `len` registers, of which none is defined.
    fn prepare(&mut self, len: u32) {
        self.values.resize(len as usize, T::UNWRITTEN);
        self.defined.clear();
        self.defined.resize(len as usize, 0);
    }
}

/// How many registers of each kind a kernel has, constants included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct RegisterCounts {
    pub(crate) words: u32,
    pub(crate) doubles: u32,
    pub(crate) predicates: u32,
}

/// The registers of one warp. Immediate operands are registers too, written when it starts.
#[derive(Debug, Default)]
pub(crate) struct Registers {
    words: File<u32>,
    doubles: File<u64>,
    predicates: File<bool>,
}

impl Registers {
    /// Makes room for that many registers, of which none is defined.
    pub(crate) fn prepare(&mut self, counts: RegisterCounts) {
        self.words.prepare(counts.words);
        self.doubles.prepare(counts.doubles);
        self.predicates.prepare(counts.predicates);
    }

    /// Forgets what was written to all registers. Their values stay, for speed: whoever honours
    /// [`Registers::defined`] cannot see them.
    pub(crate) fn forget(&mut self) {
        self.words.defined.fill(0);
        self.doubles.defined.fill(0);
        self.predicates.defined.fill(0);
    }

    /// Takes back that a register was forgotten.
    pub(crate) fn define<T: Lane>(&mut self, slot: Slot<T>) {
        T::file_mut(self).defined[slot.index()] = !0;
    }

    /// The values of a register.
    #[inline(always)]
    pub(crate) fn get<T: Lane>(&self, slot: Slot<T>) -> &T::Vector {
        &T::file(self).values[slot.index()]
    }

    /// The lanes in which a register was written.
    #[inline(always)]
    pub(crate) fn defined<T: Lane>(&self, slot: Slot<T>) -> u32 {
        T::file(self).defined[slot.index()]
    }

    /// Writes the lanes of `active`, of which those in `defined` hold something that was written.
    #[inline(always)]
    pub(crate) fn set<T: Lane>(
        &mut self,
        slot: Slot<T>,
        active: u32,
        value: &T::Vector,
        defined: u32,
    ) {
        let file = T::file_mut(self);
        T::blend(&mut file.values[slot.index()], active, value);
        let mask = &mut file.defined[slot.index()];
        *mask = (*mask & !active) | (defined & active);
    }
}

/// A Rust type as which an instruction reads or writes a register.
pub(crate) trait Scalar: Copy + Send + Sync + 'static {
    /// The kind of register.
    type Lane: Lane;
    /// Width of the register in bits; 1 for a predicate.
    const BITS: u32;
    /// Reads the register's bits.
    fn from_lane(lane: Self::Lane) -> Self;
    /// The register's bits.
    fn to_lane(self) -> Self::Lane;
}

macro_rules! scalars {
    ($($type:ty, $lane:ty, $bits:literal, $from:expr, $to:expr;)*) => {$(
        impl Scalar for $type {
            type Lane = $lane;
            const BITS: u32 = $bits;

            #[inline(always)]
            fn from_lane(lane: $lane) -> Self {
                let from: fn($lane) -> Self = $from;
                from(lane)
            }

            #[inline(always)]
            fn to_lane(self) -> $lane {
                let to: fn(Self) -> $lane = $to;
                to(self)
            }
        }
    )*};
}

scalars! {
    u8, u32, 8, |v| v as u8, u32::from;
    u16, u32, 16, |v| v as u16, u32::from;
    i16, u32, 16, |v| v as i16, |v| u32::from(v as u16);
    u32, u32, 32, |v| v, |v| v;
    i32, u32, 32, |v| v as i32, |v| v as u32;
    f32, u32, 32, f32::from_bits, f32::to_bits;
    u64, u64, 64, |v| v, |v| v;
    i64, u64, 64, |v| v as i64, |v| v as u64;
    f64, u64, 64, f64::from_bits, f64::to_bits;
    bool, bool, 1, |v| v, |v| v;
}
