//! Where a weight's bytes come from.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::{DType, Error, Result};

/// Bytes that their holders share: a part of a mapped file, or of a vector. Cloning copies no byte.
#[derive(Clone)]
pub struct SharedBytes {
    owner: Arc<dyn AsRef<[u8]> + Send + Sync>,
    range: Range<usize>,
}

impl SharedBytes {
    /// All bytes of `owner`, which must give the same bytes at every call.
    #[must_use]
    pub fn new(owner: impl AsRef<[u8]> + Send + Sync + 'static) -> Self {
        let len = owner.as_ref().len();
        Self { owner: Arc::new(owner), range: 0..len }
    }

    /// A part of these bytes; `None` where it leaves them.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> Option<Self> {
        let start = self.range.start.checked_add(range.start)?;
        let end = self.range.start.checked_add(range.end)?;
        let fits = start <= end && end <= self.range.end;
        fits.then(|| Self { owner: Arc::clone(&self.owner), range: start..end })
    }

    /// The bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &(*self.owner).as_ref()[self.range.clone()]
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.range.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }
}

impl fmt::Debug for SharedBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SharedBytes({} bytes)", self.len())
    }
}

/// One row-major matrix of a file.
#[derive(Clone, Debug)]
pub struct WeightPiece {
    /// Its rows.
    pub rows: u32,
    /// Its elements, little-endian.
    pub bytes: SharedBytes,
}

/// How the pieces of a weight belong together. The meaning of the rows is the same for all; a
/// backend may use it to choose a layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WeightRole {
    /// Rows are independent output features.
    Plain,
    /// The first half of the rows is a gate, the second half the matching up projection.
    GateUp,
    /// `num_experts` matrices of equal height, one after the other; each a gate over an up
    /// projection where `gate_up` is set.
    Experts {
        /// How many.
        num_experts: u32,
        /// Whether each expert is a gate over an up projection.
        gate_up: bool,
    },
}

/// A weight matrix as the model file has it: one or several matrices of the same width, one on
/// top of the other (q‖k‖v, gate‖up, all experts).
#[derive(Clone, Debug)]
pub struct WeightSource {
    pieces: Vec<WeightPiece>,
    cols: u32,
    dtype: DType,
    role: WeightRole,
}

impl WeightSource {
    /// Stacks `pieces`, each `[rows, cols]` of `dtype`.
    ///
    /// # Errors
    /// [`Error::InvalidWeight`] when there is no piece, a piece's bytes are not those of its
    /// shape, the dtype is not a float, or the rows do not divide as `role` asks.
    pub fn new(
        pieces: Vec<WeightPiece>,
        cols: u32,
        dtype: DType,
        role: WeightRole,
    ) -> Result<Self> {
        let source = Self { pieces, cols, dtype, role };
        source.validate()?;
        Ok(source)
    }

    fn validate(&self) -> Result<()> {
        let Self { cols, dtype, .. } = *self;
        if self.pieces.is_empty() || cols == 0 {
            return Err(Error::InvalidWeight("it has no elements".into()));
        }
        if !dtype.is_float() {
            let what = format!("dtype {dtype}, expected one of f32, f16, bf16");
            return Err(Error::InvalidWeight(what));
        }
        for piece in &self.pieces {
            let expected = piece.rows as usize * cols as usize * dtype.size_bytes();
            if piece.bytes.len() != expected || piece.rows == 0 {
                let (rows, found) = (piece.rows, piece.bytes.len());
                return Err(Error::InvalidWeight(format!(
                    "a {dtype} matrix of {rows}x{cols} has {expected} bytes, found {found}"
                )));
            }
        }
        self.validate_role()
    }

    fn validate_role(&self) -> Result<()> {
        let rows: u64 = self.pieces.iter().map(|piece| u64::from(piece.rows)).sum();
        if rows > u64::from(u32::MAX) {
            return Err(Error::InvalidWeight(format!("{rows} rows, at most {}", u32::MAX)));
        }
        let parts = match self.role {
            WeightRole::Plain => 1,
            WeightRole::GateUp => 2,
            WeightRole::Experts { num_experts, gate_up } => {
                u64::from(num_experts) * if gate_up { 2 } else { 1 }
            }
        };
        if parts == 0 || !rows.is_multiple_of(parts) {
            let what = format!("{rows} rows do not divide into {parts} parts ({:?})", self.role);
            return Err(Error::InvalidWeight(what));
        }
        Ok(())
    }

    /// The stacked matrices, top first.
    #[must_use]
    pub fn pieces(&self) -> &[WeightPiece] {
        &self.pieces
    }

    /// Rows of all pieces together.
    #[must_use]
    pub fn rows(&self) -> u32 {
        self.pieces.iter().map(|piece| piece.rows).sum()
    }

    /// Elements in a row.
    #[must_use]
    pub const fn cols(&self) -> u32 {
        self.cols
    }

    /// Type of one element.
    #[must_use]
    pub const fn dtype(&self) -> DType {
        self.dtype
    }

    /// How the pieces belong together.
    #[must_use]
    pub const fn role(&self) -> WeightRole {
        self.role
    }
}
