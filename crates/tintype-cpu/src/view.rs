//! Typed views of buffers: matrices read as f32 whatever their dtype, written with one rounding.

use std::ops::Range;

use bytemuck::{AnyBitPattern, NoUninit};
use half::{bf16, f16};
use tintype_ops::{DType, Tensor};

use crate::float::Float;
use crate::simd::Simd;
use crate::storage::Storage;

/// A row-major matrix inside a buffer, read only.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a, T> {
    data: &'a [T],
    rows: usize,
    cols: usize,
    stride: usize,
}

impl<'a> Matrix<'a, u8> {
    /// The bytes of the view that `tensor` describes; it lies inside `storage`.
    pub(crate) fn bytes(storage: &'a Storage, tensor: Tensor) -> Self {
        Self::with_layout(storage.bytes(), Layout::bytes(tensor))
    }
}

impl<'a, T: AnyBitPattern> Matrix<'a, T> {
    /// The view that `tensor` describes; it lies inside `storage` and has the dtype of `T`.
    pub(crate) fn new(storage: &'a Storage, tensor: Tensor) -> Self {
        Self::with_layout(storage.as_slice(), Layout::elements(tensor))
    }

    fn with_layout(all: &'a [T], layout: Layout) -> Self {
        let Layout { span, rows, cols, stride } = layout;
        Self { data: &all[span], rows, cols, stride }
    }

    pub(crate) fn num_rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn num_cols(&self) -> usize {
        self.cols
    }

    pub(crate) fn row(&self, row: usize) -> &'a [T] {
        &self.data[row * self.stride..][..self.cols]
    }

    pub(crate) fn rows(&self) -> impl Iterator<Item = &'a [T]> {
        self.data.chunks(self.stride).map(|row| &row[..self.cols])
    }

    /// All elements, where rows follow each other without a gap.
    fn contiguous(&self) -> Option<&'a [T]> {
        (self.stride == self.cols || self.rows == 1).then_some(self.data)
    }
}

/// A row-major matrix of some float type, read only.
#[derive(Clone, Copy)]
pub(crate) enum FloatMatrix<'a> {
    F32(Matrix<'a, f32>),
    F16(Matrix<'a, f16>),
    Bf16(Matrix<'a, bf16>),
}

impl<'a> FloatMatrix<'a> {
    /// The view that `tensor` describes; it lies inside `storage` and its dtype is a float.
    pub(crate) fn new(storage: &'a Storage, tensor: Tensor) -> Self {
        match tensor.dtype {
            DType::F16 => Self::F16(Matrix::new(storage, tensor)),
            DType::Bf16 => Self::Bf16(Matrix::new(storage, tensor)),
            DType::F32 | DType::I32 | DType::U32 => Self::F32(Matrix::new(storage, tensor)),
        }
    }

    pub(crate) fn num_rows(&self) -> usize {
        match self {
            Self::F32(matrix) => matrix.num_rows(),
            Self::F16(matrix) => matrix.num_rows(),
            Self::Bf16(matrix) => matrix.num_rows(),
        }
    }

    pub(crate) fn num_cols(&self) -> usize {
        match self {
            Self::F32(matrix) => matrix.num_cols(),
            Self::F16(matrix) => matrix.num_cols(),
            Self::Bf16(matrix) => matrix.num_cols(),
        }
    }

    /// One row in f32: borrowed where it is stored so, else converted into `scratch`.
    pub(crate) fn row<'s>(&self, simd: Simd, row: usize, scratch: &'s mut Vec<f32>) -> &'s [f32]
    where
        'a: 's,
    {
        match self {
            Self::F32(matrix) => return matrix.row(row),
            Self::F16(matrix) => convert(simd, matrix.row(row), scratch),
            Self::Bf16(matrix) => convert(simd, matrix.row(row), scratch),
        }
        scratch
    }

    /// Copies one row into `out`, as f32.
    pub(crate) fn read_row(&self, simd: Simd, row: usize, out: &mut [f32]) {
        match self {
            Self::F32(matrix) => Float::load(simd, out, matrix.row(row)),
            Self::F16(matrix) => Float::load(simd, out, matrix.row(row)),
            Self::Bf16(matrix) => Float::load(simd, out, matrix.row(row)),
        }
    }

    /// The whole matrix, where it is stored as one run of f32.
    pub(crate) fn as_contiguous_f32(&self) -> Option<&'a [f32]> {
        match self {
            Self::F32(matrix) => matrix.contiguous(),
            Self::F16(_) | Self::Bf16(_) => None,
        }
    }
}

/// The elements of some float type, read only.
#[derive(Clone, Copy)]
pub(crate) enum Floats<'a> {
    F32(&'a [f32]),
    F16(&'a [f16]),
    Bf16(&'a [bf16]),
}

impl<'a> Floats<'a> {
    /// All elements of `storage`; `dtype` is a float.
    pub(crate) fn new(storage: &'a Storage, dtype: DType) -> Self {
        match dtype {
            DType::F16 => Self::F16(storage.as_slice()),
            DType::Bf16 => Self::Bf16(storage.as_slice()),
            DType::F32 | DType::I32 | DType::U32 => Self::F32(storage.as_slice()),
        }
    }

    /// Copies the elements from `start` on into `out`, as f32.
    pub(crate) fn read(&self, simd: Simd, start: usize, out: &mut [f32]) {
        let range = start..start + out.len();
        match self {
            Self::F32(data) => Float::load(simd, out, &data[range]),
            Self::F16(data) => Float::load(simd, out, &data[range]),
            Self::Bf16(data) => Float::load(simd, out, &data[range]),
        }
    }
}

fn convert<T: Float>(simd: Simd, row: &[T], out: &mut Vec<f32>) {
    out.resize(row.len(), 0.0);
    T::load(simd, out, row);
}

/// One row of an output.
pub(crate) enum RowMut<'a> {
    F32(&'a mut [f32]),
    F16(&'a mut [f16]),
    Bf16(&'a mut [bf16]),
}

impl RowMut<'_> {
    fn len(&self) -> usize {
        match self {
            Self::F32(row) => row.len(),
            Self::F16(row) => row.len(),
            Self::Bf16(row) => row.len(),
        }
    }

    /// Columns `range` of the row.
    pub(crate) fn columns(&mut self, range: Range<usize>) -> RowMut<'_> {
        match self {
            Self::F32(row) => RowMut::F32(&mut row[range]),
            Self::F16(row) => RowMut::F16(&mut row[range]),
            Self::Bf16(row) => RowMut::Bf16(&mut row[range]),
        }
    }

    /// Overwrites the row with what `fill` writes, rounded once. `fill` must write every element:
    /// what it finds there means nothing.
    pub(crate) fn write(
        &mut self,
        simd: Simd,
        scratch: &mut Vec<f32>,
        fill: impl FnOnce(&mut [f32]),
    ) {
        if let Self::F32(row) = self {
            return fill(row);
        }
        scratch.resize(self.len(), 0.0);
        fill(scratch);
        self.store(simd, scratch);
    }

    /// Changes the row in place: `change` finds its values as f32, and they are rounded once.
    pub(crate) fn update(
        &mut self,
        simd: Simd,
        scratch: &mut Vec<f32>,
        change: impl FnOnce(&mut [f32]),
    ) {
        match self {
            Self::F32(row) => return change(row),
            Self::F16(row) => convert(simd, row, scratch),
            Self::Bf16(row) => convert(simd, row, scratch),
        }
        change(scratch);
        self.store(simd, scratch);
    }

    /// Overwrites the row with `values`, rounded once.
    pub(crate) fn store(&mut self, simd: Simd, values: &[f32]) {
        match self {
            Self::F32(row) => Float::store(simd, row, values),
            Self::F16(row) => Float::store(simd, row, values),
            Self::Bf16(row) => Float::store(simd, row, values),
        }
    }
}

/// The rows of an output of some float type; `tensor` lies inside `storage`.
pub(crate) fn float_rows_mut(storage: &mut Storage, tensor: Tensor) -> Vec<RowMut<'_>> {
    match tensor.dtype {
        DType::F16 => rows_mut(storage, tensor).map(RowMut::F16).collect(),
        DType::Bf16 => rows_mut(storage, tensor).map(RowMut::Bf16).collect(),
        DType::F32 | DType::I32 | DType::U32 => {
            rows_mut(storage, tensor).map(RowMut::F32).collect()
        }
    }
}

/// The rows of an output whose dtype is that of `T`; `tensor` lies inside `storage`.
pub(crate) fn rows_mut<T>(storage: &mut Storage, tensor: Tensor) -> impl Iterator<Item = &mut [T]>
where
    T: AnyBitPattern + NoUninit,
{
    chunks(storage.as_mut_slice(), Layout::elements(tensor))
}

/// The bytes of the rows of a tensor that lies inside `storage`.
pub(crate) fn byte_rows_mut(
    storage: &mut Storage,
    tensor: Tensor,
) -> impl Iterator<Item = &mut [u8]> {
    chunks(storage.bytes_mut(), Layout::bytes(tensor))
}

fn chunks<T>(all: &mut [T], layout: Layout) -> impl Iterator<Item = &mut [T]> {
    let Layout { span, cols, stride, .. } = layout;
    all[span].chunks_mut(stride).map(move |row| &mut row[..cols])
}

/// Where a view lies in its buffer, counted in some unit: elements or bytes.
struct Layout {
    span: Range<usize>,
    rows: usize,
    cols: usize,
    /// At least `cols`, and never 0.
    stride: usize,
}

impl Layout {
    fn elements(tensor: Tensor) -> Self {
        let size = tensor.dtype.size_bytes();
        let Self { span, rows, cols, stride } = Self::bytes(tensor);
        Self {
            span: span.start / size..span.end / size,
            rows,
            cols: cols / size,
            stride: stride / size,
        }
    }

    fn bytes(tensor: Tensor) -> Self {
        let size = tensor.dtype.size_bytes();
        let (start, end) = tensor.byte_range();
        let (rows, cols) = (tensor.rows as usize, tensor.cols as usize);
        let stride = (tensor.stride as usize).max(cols).max(1);
        Self { span: start as usize..end as usize, rows, cols: cols * size, stride: stride * size }
    }
}
