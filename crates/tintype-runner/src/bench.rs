//! How long one batch takes, and how near its decode steps come to the memory's rate.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde::Serialize;
use tintype_ops::{Buffer, ReadProbe, Stream};

use crate::error::doing;
use crate::random::SplitMix64;
use crate::stats::milliseconds;
use crate::{Engine, EngineError, Request, RequestError, RequestLimits, SamplingParams};

/// Bytes that the read probe sums.
const PROBE_BYTES: u64 = 2 << 30;
/// Decode steps between two passes of the probe. A pass takes about as long as a step of a 1B
/// model, and a shared machine's memory rate changes within seconds.
const STEPS_PER_PROBE: usize = 8;

/// What to measure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LatencyOptions {
    /// Tokens of each prompt, at least 1.
    pub input_len: usize,
    /// Tokens generated for each prompt, at least 1.
    pub output_len: usize,
    /// Prompts, at least 1.
    pub batch_size: usize,
    /// Timed runs of the batch, at least 1, after one that is not timed.
    pub num_iters: usize,
    /// Seed of the prompts' random tokens.
    pub seed: u64,
    /// For the report: the type that the weights are stored in, which the engine does not know.
    pub dtype: String,
}

impl LatencyOptions {
    /// Refuses sequences that would end before they have their length: the times would be those of
    /// a shorter run.
    ///
    /// # Errors
    /// [`RequestError::OutputTooLong`].
    pub fn check(&self, limits: &RequestLimits) -> Result<(), RequestError> {
        let Self { input_len, output_len, .. } = *self;
        let (max_model_len, length_limit) = (limits.max_model_len(), limits.length_limit());
        match input_len.saturating_add(output_len) <= max_model_len {
            true => Ok(()),
            false => Err(RequestError::OutputTooLong {
                input_len,
                output_len,
                max_model_len,
                length_limit,
            }),
        }
    }
}

/// A distribution in milliseconds; 0 where nothing was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Spread {
    /// The middle one; of two, their mean.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

/// A [`Spread`] with its ninetieth percentile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct SpreadWithTail {
    /// Median, smallest and largest.
    #[serde(flatten)]
    pub spread: Spread,
    /// Nine of ten are at most this.
    pub p90: f64,
}

/// What was measured. Serialises as `bench latency --json` prints it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LatencyReport {
    /// The model's name.
    pub model: String,
    /// The type that the weights are stored in, e.g. `bf16`; several as `bf16, f32`.
    pub dtype: String,
    /// The device's name.
    pub device: String,
    /// Threads or multiprocessors.
    pub threads: usize,
    /// Prompts.
    pub batch_size: usize,
    /// Tokens of each prompt.
    pub input_len: usize,
    /// Tokens generated for each.
    pub output_len: usize,
    /// Timed runs.
    pub num_iters: usize,
    /// The CUDA graph mode, e.g. `FULL_AND_PIECEWISE`.
    pub mode: String,
    /// Bytes of weights that a decode step reads.
    pub weight_bytes: u64,
    /// Until every prompt has its first token; one value per run.
    pub prefill_ms: Spread,
    /// Each step after that; `None` where `output_len` is 1, so that there is none.
    pub decode_ms_per_step: Option<Spread>,
    /// Whole runs, without the passes of the probe.
    pub latency_ms: SpreadWithTail,
    /// `weight_bytes` over the median decode step, in 10⁹ bytes per second.
    pub read_gb_per_s: Option<f64>,
    /// Median rate at which the same workers sum a buffer of 2 GiB, in passes between the steps.
    pub probe_gb_per_s: f64,
}

/// All times of a benchmark.
#[derive(Debug, Default)]
struct Samples {
    prefill: Vec<Duration>,
    decode: Vec<Duration>,
    latency: Vec<Duration>,
    probe: Vec<Duration>,
}

/// Runs a batch of random prompts `num_iters` times and calls `progress` with the number of runs
/// done. Greedy, to the full output length.
///
/// # Errors
/// When a sequence does not fit the engine, the probe's buffer does not fit the memory, or a step
/// fails.
pub fn latency<S: Stream + ReadProbe>(
    engine: &mut Engine<S>,
    options: &LatencyOptions,
    progress: &mut dyn FnMut(usize),
) -> Result<LatencyReport, EngineError> {
    options.check(engine.request_limits())?;
    let mut random = SplitMix64::new(options.seed);
    // Graphs, caches and pages are warm after one run, and a batch that does not fit is refused.
    run_batch(engine, options, &mut random, None, &mut Samples::default())?;
    while engine.capture_next()?.is_some() {}
    let buffer = engine.stream_mut().alloc(PROBE_BYTES);
    let buffer = buffer.map_err(doing("allocating the 2 GiB that the read probe sums"))?;
    probe(engine, buffer)?;
    let mut samples = Samples::default();
    for index in 0..options.num_iters {
        run_batch(engine, options, &mut random, Some(buffer), &mut samples)?;
        progress(index + 1);
    }
    Ok(report(engine, options, &samples))
}

/// One run of the batch, step by step, with passes of the probe in between.
fn run_batch<S: Stream + ReadProbe>(
    engine: &mut Engine<S>,
    options: &LatencyOptions,
    random: &mut SplitMix64,
    buffer: Option<Buffer>,
    samples: &mut Samples,
) -> Result<(), EngineError> {
    add_batch(engine, options, random)?;
    let (mut prefill, mut decode) = (Duration::ZERO, Duration::ZERO);
    let mut with_token = BTreeSet::new();
    let mut num_decodes = 0;
    while engine.has_unfinished() {
        // Behind a step that is on its way, the probe would hide its time.
        let is_probed = buffer.is_some() && (num_decodes + 1) % STEPS_PER_PROBE == 0;
        let start = Instant::now();
        let outputs = if is_probed { engine.step_alone()? } else { engine.step()? }.outputs;
        let elapsed = start.elapsed();
        if with_token.len() < options.batch_size {
            with_token.extend(outputs.into_iter().map(|output| output.id));
            prefill += elapsed;
            continue;
        }
        decode += elapsed;
        samples.decode.push(elapsed);
        num_decodes += 1;
        if num_decodes % STEPS_PER_PROBE == 0 {
            samples.probe.extend(probe_if(engine, buffer)?);
        }
    }
    samples.probe.extend(probe_if(engine, buffer)?);
    samples.prefill.push(prefill);
    samples.latency.push(prefill + decode);
    Ok(())
}

fn add_batch<S: Stream>(
    engine: &mut Engine<S>,
    options: &LatencyOptions,
    random: &mut SplitMix64,
) -> Result<(), EngineError> {
    let vocab_size = engine.model().config().vocab_size;
    let params = SamplingParams {
        ignore_eos: true,
        max_tokens: Some(options.output_len),
        ..SamplingParams::default()
    };
    for _ in 0..options.batch_size {
        let prompt_ids = random.token_ids(options.input_len, vocab_size);
        engine.add_request(Request { prompt_ids, params: params.clone() })?;
    }
    Ok(())
}

fn probe<S: Stream + ReadProbe>(
    engine: &mut Engine<S>,
    buffer: Buffer,
) -> Result<Duration, EngineError> {
    engine.stream_mut().read_probe(buffer).map_err(doing("measuring the memory's rate"))
}

fn probe_if<S: Stream + ReadProbe>(
    engine: &mut Engine<S>,
    buffer: Option<Buffer>,
) -> Result<Option<Duration>, EngineError> {
    buffer.map(|buffer| probe(engine, buffer)).transpose()
}

fn report<S: Stream>(
    engine: &Engine<S>,
    options: &LatencyOptions,
    samples: &Samples,
) -> LatencyReport {
    let device = engine.device_info();
    let weight_bytes = engine.model().weight_bytes();
    let decode = (!samples.decode.is_empty()).then(|| spread(&samples.decode));
    let latency = sorted_ms(&samples.latency);
    LatencyReport {
        model: engine.model_name().to_owned(),
        dtype: options.dtype.clone(),
        device: device.name,
        threads: device.num_workers,
        batch_size: options.batch_size,
        input_len: options.input_len,
        output_len: options.output_len,
        num_iters: options.num_iters,
        mode: engine.compilation().mode().to_string(),
        weight_bytes,
        prefill_ms: spread(&samples.prefill),
        decode_ms_per_step: decode,
        latency_ms: SpreadWithTail {
            spread: spread(&samples.latency),
            p90: percentile(&latency, 90),
        },
        read_gb_per_s: decode.map(|decode| gb_per_s(weight_bytes, decode.median)),
        probe_gb_per_s: gb_per_s(PROBE_BYTES, spread(&samples.probe).median),
    }
}

fn gb_per_s(bytes: u64, ms: f64) -> f64 {
    if ms > 0.0 { bytes as f64 / ms / 1e6 } else { 0.0 }
}

fn sorted_ms(durations: &[Duration]) -> Vec<f64> {
    let mut ms: Vec<f64> = durations.iter().map(|&duration| milliseconds(duration)).collect();
    ms.sort_unstable_by(f64::total_cmp);
    ms
}

fn spread(durations: &[Duration]) -> Spread {
    let ms = sorted_ms(durations);
    let (Some(&min), Some(&max)) = (ms.first(), ms.last()) else { return Spread::default() };
    let median = (ms[(ms.len() - 1) / 2] + ms[ms.len() / 2]) / 2.0;
    Spread { median, min, max }
}

/// The smallest value that `percent` of them are at most.
fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(values: &[u64]) -> Vec<Duration> {
        values.iter().map(|&value| Duration::from_millis(value)).collect()
    }

    #[test]
    fn medians_of_odd_and_even_counts() {
        assert_eq!(spread(&ms(&[5, 1, 3])), Spread { median: 3.0, min: 1.0, max: 5.0 });
        assert_eq!(spread(&ms(&[4, 1, 2, 9])).median, 3.0);
        assert_eq!(spread(&[]), Spread::default());
    }

    #[test]
    fn the_ninetieth_percentile_is_one_of_the_values() {
        let ten: Vec<f64> = (1..=10).map(f64::from).collect();
        assert_eq!((percentile(&ten, 90), percentile(&ten[..3], 90)), (9.0, 3.0));
        assert_eq!(percentile(&[], 90), 0.0);
    }

    #[test]
    fn rates_are_in_powers_of_ten() {
        assert_eq!(gb_per_s(2_000_000_000, 100.0), 20.0);
        assert_eq!(gb_per_s(1, 0.0), 0.0);
    }
}
