//! Fixtures, truncated and with bytes flipped at many places: every outcome is an error or a
//! correct load.

use tintype_cpu::CpuStream;
use tintype_model::{ModelError, ModelFiles, ModelSource};

use super::Folder;
use crate::model::Driver;

const SINGLE: (&str, &str) = ("llama31-rope-tied-bf16", "model.safetensors");
const SHARD: (&str, &str) = ("qwen3-qknorm-f32-sharded", "model-00003-of-00008.safetensors");
const INDEX: (&str, &str) = ("qwen3-qknorm-f32-sharded", "model.safetensors.index.json");
const CONFIG: (&str, &str) = ("llama31-rope-tied-bf16", "config.json");

/// Logits of two tokens, or why there are none.
fn run(folder: &Folder) -> Result<Vec<f32>, ModelError> {
    let files = ModelFiles::open(ModelSource::Folder(folder.path().into()))?;
    Ok(Driver::<CpuStream>::load(&files)?.feed(&[5, 7]))
}

/// Outcomes of many spoilt copies of one file.
#[derive(Default)]
struct Outcomes {
    refused: usize,
    /// Loaded, with the logits of the whole file.
    same: usize,
    /// Loaded, with others.
    other: usize,
}

impl Outcomes {
    /// Runs the fixture with each of `spoilt` in place of `file`.
    fn of((name, file): (&str, &str), spoilt: impl Iterator<Item = Vec<u8>>) -> Self {
        let folder = Folder::copy_of(name);
        let whole = run(&folder).unwrap();
        let mut outcomes = Self::default();
        for bytes in spoilt {
            match run(folder.write(file, bytes)) {
                Err(error) => {
                    assert!(error.to_string().len() > 20, "a message that says little: {error}");
                    outcomes.refused += 1;
                }
                Ok(logits) if logits == whole => outcomes.same += 1,
                Ok(logits) => {
                    assert_eq!(logits.len(), whole.len(), "a model of another shape");
                    outcomes.other += 1;
                }
            }
        }
        let Self { refused, same, other } = outcomes;
        println!("{name}/{file}: {refused} refused, {same} loaded as before, {other} otherwise");
        outcomes
    }
}

fn bytes((name, file): (&str, &str)) -> Vec<u8> {
    Folder::copy_of(name).read(file)
}

/// `count` places in `range`, spread evenly; the last is one before its end.
fn places(range: std::ops::Range<usize>, count: usize) -> impl Iterator<Item = usize> {
    let len = range.len();
    (1..=count).map(move |idx| range.start + (len * idx / count).saturating_sub(1))
}

/// `bytes` with one byte changed: a bit of it, or at every fourth place all of them.
fn flipped(bytes: &[u8], (idx, place): (usize, usize)) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[place] ^= if idx % 4 == 3 { 0xff } else { 1 << (idx % 7) };
    bytes
}

fn header_len(bytes: &[u8]) -> usize {
    8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize
}

#[test]
fn a_truncated_file_is_refused() {
    for target in [SINGLE, SHARD, INDEX] {
        let mut whole = bytes(target);
        // A JSON file may do without the line break at its end.
        whole.truncate(whole.trim_ascii_end().len().max(whole.len() - 1));
        let lengths = (0..12).chain(places(12..whole.len(), 60));
        let outcomes = Outcomes::of(target, lengths.map(|len| whole[..len].to_vec()));
        assert_eq!(outcomes.refused, 72, "{target:?}");
    }
}

#[test]
fn bytes_after_the_last_tensor_are_refused() {
    for target in [SINGLE, SHARD] {
        let mut longer = bytes(target);
        longer.push(0);
        assert_eq!(Outcomes::of(target, [longer].into_iter()).refused, 1);
    }
}

#[test]
fn a_flipped_header_is_refused_or_means_the_same() {
    for target in [SINGLE, SHARD] {
        let whole = bytes(target);
        let header = (0..8).chain(places(8..header_len(&whole), 192));
        let outcomes = Outcomes::of(target, header.enumerate().map(|at| flipped(&whole, at)));
        assert_eq!(outcomes.other, 0, "{target:?}: a damaged header changed the model");
        assert!(outcomes.refused > 150, "{target:?}");
    }
}

#[test]
fn flipped_weights_load_as_other_weights() {
    for target in [SINGLE, SHARD] {
        let whole = bytes(target);
        let data = places(header_len(&whole)..whole.len(), 48).enumerate();
        let outcomes = Outcomes::of(target, data.map(|at| flipped(&whole, at)));
        assert_eq!(outcomes.refused, 0, "{target:?}: weights have no checksum");
    }
}

#[test]
fn weights_that_are_not_numbers_do_no_harm() {
    let whole = bytes(SINGLE);
    let (start, end) = (header_len(&whole), whole.len());
    let filled = |value: u8| {
        let mut bytes = whole.clone();
        bytes[start..end].fill(value);
        bytes
    };
    // As bf16: a NaN with all bits set; huge, so that sums overflow; and zero.
    let outcomes = Outcomes::of(SINGLE, [0xff, 0x7f, 0x7e, 0].map(filled).into_iter());
    assert_eq!((outcomes.refused, outcomes.same), (0, 0));
}

#[test]
fn a_flipped_config_or_index_is_refused_or_makes_sense() {
    for target in [CONFIG, INDEX] {
        let whole = bytes(target);
        let places = places(0..whole.len(), 160).enumerate();
        let outcomes = Outcomes::of(target, places.map(|at| flipped(&whole, at)));
        assert!(outcomes.refused > 20 && outcomes.same > 0, "{target:?}");
    }
}
