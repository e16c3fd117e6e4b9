//! From tensors of a file to weights, vectors and activations of a stream.

use std::collections::{BTreeSet, HashMap};

use tintype_ops::{DType, Norm, Stream, Tensor, Weight, WeightPiece, WeightRole, WeightSource};

use crate::{Limits, LoadProgress, ModelError, ModelFiles, StoredTensor};

/// One tensor that the architecture asks for.
pub(crate) struct Wanted {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
}

impl Wanted {
    /// A tensor of this name and shape, outermost dimension first.
    pub(crate) fn new(name: String, shape: &[usize]) -> Self {
        Self { name, shape: shape.into() }
    }
}

/// Takes tensors by name, checks them against what the architecture asks for, and hands them to
/// the stream. Keeps account of what was taken.
pub(crate) struct Loader<'a, S: Stream> {
    files: &'a ModelFiles,
    stream: &'a mut S,
    limits: Limits,
    progress: &'a mut dyn FnMut(LoadProgress),
    activations: HashMap<(&'static str, u32, u32, DType), Tensor>,
    taken: BTreeSet<String>,
    loaded_bytes: u64,
    num_parameters: u64,
}

impl<'a, S: Stream> Loader<'a, S> {
    pub(crate) fn new(
        files: &'a ModelFiles,
        stream: &'a mut S,
        limits: Limits,
        progress: &'a mut dyn FnMut(LoadProgress),
    ) -> Self {
        let (activations, taken) = (HashMap::new(), BTreeSet::new());
        let (loaded_bytes, num_parameters) = (0, 0);
        Self { files, stream, limits, progress, activations, taken, loaded_bytes, num_parameters }
    }

    /// The files that tensors are taken from.
    pub(crate) fn files(&self) -> &'a ModelFiles {
        self.files
    }

    /// What there must be room for.
    pub(crate) fn limits(&self) -> Limits {
        self.limits
    }

    /// The dtype of what a matrix of `weights` gives.
    pub(crate) fn activation_dtype(&self, weights: DType) -> DType {
        self.stream.activation_dtype(weights)
    }

    /// Values taken so far.
    pub(crate) fn num_parameters(&self) -> u64 {
        self.num_parameters
    }

    /// Loads one matrix `[rows, cols]`.
    pub(crate) fn matrix(&mut self, wanted: Wanted) -> Result<Weight, ModelError> {
        self.stacked(&[wanted], WeightRole::Plain)
    }

    /// Loads matrices of the same width as one, the first on top. A tensor of three dimensions is
    /// already a stack.
    pub(crate) fn stacked(
        &mut self,
        wanted: &[Wanted],
        role: WeightRole,
    ) -> Result<Weight, ModelError> {
        let stored = self.take_all(wanted)?;
        let dtype = stored[0].dtype;
        let cols = wanted[0].shape.last().copied().unwrap_or(0);
        let pieces = stored.into_iter().map(|tensor| WeightPiece {
            rows: fit(tensor.shape[..tensor.shape.len() - 1].iter().product()),
            bytes: tensor.bytes,
        });
        let source = WeightSource::new(pieces.collect(), fit(cols), dtype, role);
        let weight = source.and_then(|source| self.stream.load_weight(source));
        weight.map_err(in_stream(&wanted[0].name))
    }

    /// Loads vectors into one row, the first on the left, in the dtype of the file.
    pub(crate) fn row(&mut self, wanted: &[Wanted]) -> Result<Tensor, ModelError> {
        let stored = self.take_all(wanted)?;
        let bytes: Vec<u8> = stored.iter().flat_map(|t| t.bytes.as_slice()).copied().collect();
        let cols = wanted.iter().map(|wanted| wanted.shape.iter().product::<usize>()).sum();
        self.upload(&wanted[0].name, 1, fit(cols), stored[0].dtype, &bytes)
    }

    /// Loads the weight of a norm over `dim` elements.
    pub(crate) fn norm(&mut self, name: String, dim: usize, eps: f32) -> Result<Norm, ModelError> {
        Ok(Norm { weight: self.row(&[Wanted::new(name, &[dim])])?, eps })
    }

    /// Copies the `[rows, cols]` matrix `bytes` into a buffer of its own.
    pub(crate) fn upload(
        &mut self,
        what: &str,
        rows: u32,
        cols: u32,
        dtype: DType,
        bytes: &[u8],
    ) -> Result<Tensor, ModelError> {
        let tensor = self.alloc(what, rows, cols, dtype)?;
        self.stream.upload(tensor, bytes).map_err(in_stream(what))?;
        Ok(tensor)
    }

    /// The activation `name` as `[rows, cols]`. All layers share it: whoever asks for the same name
    /// and shape again gets the same memory.
    pub(crate) fn activation(
        &mut self,
        name: &'static str,
        rows: u32,
        cols: u32,
        dtype: DType,
    ) -> Result<Tensor, ModelError> {
        let key = (name, rows, cols, dtype);
        if let Some(&tensor) = self.activations.get(&key) {
            return Ok(tensor);
        }
        let tensor = self.alloc(name, rows, cols, dtype)?;
        self.activations.insert(key, tensor);
        Ok(tensor)
    }

    fn alloc(
        &mut self,
        what: &str,
        rows: u32,
        cols: u32,
        dtype: DType,
    ) -> Result<Tensor, ModelError> {
        let elements = u64::from(rows) * u64::from(cols);
        let bytes = elements.saturating_mul(dtype.size_bytes() as u64);
        let buffer = self.stream.alloc(bytes).map_err(in_stream(what))?;
        Ok(Tensor::new(buffer, rows, cols, dtype))
    }

    /// Tells the caller how far loading has come.
    pub(crate) fn report(&mut self) {
        let total_bytes = self.files.tensors.total_bytes();
        (self.progress)(LoadProgress { loaded_bytes: self.loaded_bytes, total_bytes });
    }

    /// Refuses weights that the architecture did not ask for. A bias or a layer that is left over
    /// means that the config describes another model, whose text would be quietly wrong.
    pub(crate) fn finish(&self) -> Result<(), ModelError> {
        let left_over = |name: &&str| {
            name.starts_with("model.")
                // Some old checkpoints store RoPE's frequencies, which follow from the config.
                && !name.ends_with("rotary_emb.inv_freq")
                && !self.taken.contains(*name)
        };
        match self.files.tensors.names().into_iter().find(left_over) {
            None => Ok(()),
            Some(name) => Err(ModelError::Contradiction(format!(
                "the files hold tensor {name}, for which a model of this config has no place"
            ))),
        }
    }

    /// Takes tensors that will lie in one allocation and so must be of one dtype.
    fn take_all(&mut self, wanted: &[Wanted]) -> Result<Vec<StoredTensor>, ModelError> {
        let mut stored: Vec<StoredTensor> = Vec::with_capacity(wanted.len());
        for Wanted { name, shape } in wanted {
            let tensor = self.take(name, shape)?;
            let expected = stored.first().map_or(tensor.dtype, |first| first.dtype);
            if tensor.dtype != expected {
                let first_tensor = wanted[0].name.clone();
                let (tensor, found) = (name.clone(), tensor.dtype);
                return Err(ModelError::MixedDTypes { tensor, found, first_tensor, expected });
            }
            stored.push(tensor);
        }
        Ok(stored)
    }

    fn take(&mut self, name: &str, shape: &[usize]) -> Result<StoredTensor, ModelError> {
        let tensor = self.files.tensors.get(name, shape)?;
        if tensor.shape != shape {
            return Err(ModelError::TensorShape {
                file: tensor.file.to_string(),
                tensor: name.into(),
                found: tensor.shape,
                expected: shape.into(),
            });
        }
        self.taken.insert(name.into());
        self.loaded_bytes += tensor.bytes.len() as u64;
        self.num_parameters += shape.iter().product::<usize>() as u64;
        Ok(tensor)
    }
}

/// A size as ops have it. One that does not fit saturates, and the stream refuses what comes of it.
pub(crate) fn fit(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

fn in_stream(what: &str) -> impl FnOnce(tintype_ops::Error) -> ModelError {
    let what = what.to_owned();
    |source| ModelError::Stream { what, source }
}
