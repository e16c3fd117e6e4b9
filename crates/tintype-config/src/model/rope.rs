//! Rotary position embeddings: how fast each pair of a head's dimensions turns.
//!
//! The arithmetic follows transformers' `modeling_rope_utils` step by step, in f32 where that is in
//! f32, since a frequency that is off by a little is off by a lot at position 100 000.

use std::f64::consts::TAU;

use super::{Architecture, Fields};
use crate::ConfigError;

/// How the frequencies are stretched to positions beyond those of the first training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rope {
    /// Not at all.
    Default,
    /// All of them by the same factor.
    Linear {
        /// Divides every frequency.
        factor: f64,
    },
    /// As Llama 3.1: slow ones by a factor, fast ones not, smoothly between.
    Llama3 {
        /// Divides the slow frequencies.
        factor: f64,
        /// Frequencies with fewer turns than this in the original context are slow.
        low_freq_factor: f64,
        /// Frequencies with more turns than this in the original context are fast.
        high_freq_factor: f64,
        /// Positions of the first training.
        original_max_position_embeddings: usize,
    },
    /// YaRN (arXiv 2309.00071): a linear ramp between the two, and a factor on attention.
    Yarn {
        /// Divides the slow frequencies.
        factor: f64,
        /// Positions of the first training.
        original_max_position_embeddings: usize,
        /// Turns in the original context above which a frequency is kept.
        beta_fast: f64,
        /// Turns in the original context below which a frequency is divided.
        beta_slow: f64,
        /// The factor on cos and sin; `None` = from `factor` and the two below.
        attention_factor: Option<f64>,
        /// Numerator's weight of the derived attention factor.
        mscale: Option<f64>,
        /// Denominator's weight of the derived attention factor.
        mscale_all_dim: Option<f64>,
        /// Whether the ramp begins and ends at whole dimensions.
        truncate: bool,
    },
}

impl Rope {
    /// Inverse frequencies, one per pair of the `rotary_dim` rotated dimensions, in radians per
    /// position, and the factor on cos and sin.
    pub fn inv_freq(&self, rotary_dim: usize, theta: f64) -> (Vec<f32>, f32) {
        let plain: Vec<f32> = periods(rotary_dim, theta).map(|period| 1.0 / period).collect();
        match *self {
            Self::Default => (plain, 1.0),
            Self::Linear { factor } => {
                (plain.into_iter().map(|freq| freq / factor as f32).collect(), 1.0)
            }
            Self::Llama3 { .. } => {
                (plain.into_iter().map(|freq| self.llama3_freq(freq)).collect(), 1.0)
            }
            Self::Yarn { .. } => {
                (self.yarn_inv_freq(rotary_dim, theta), self.attention_factor() as f32)
            }
        }
    }

    fn llama3_freq(&self, freq: f32) -> f32 {
        let &Self::Llama3 {
            factor,
            low_freq_factor,
            high_freq_factor,
            original_max_position_embeddings,
        } = self
        else {
            return freq;
        };
        let original = original_max_position_embeddings as f64;
        let wavelength = TAU as f32 / freq;
        if wavelength < (original / high_freq_factor) as f32 {
            return freq;
        }
        if wavelength > (original / low_freq_factor) as f32 {
            return freq / factor as f32;
        }
        let num_turns = original as f32 / wavelength;
        let smooth =
            (num_turns - low_freq_factor as f32) / (high_freq_factor - low_freq_factor) as f32;
        (1.0 - smooth) * freq / factor as f32 + smooth * freq
    }

    fn yarn_inv_freq(&self, rotary_dim: usize, theta: f64) -> Vec<f32> {
        let &Self::Yarn { factor, .. } = self else { return Vec::new() };
        let (low, high) = self.yarn_ramp(rotary_dim, theta);
        let blend = |(pair_idx, period): (usize, f32)| {
            let ramp = ((pair_idx as f32 - low as f32) / (high - low) as f32).clamp(0.0, 1.0);
            let kept = 1.0 - ramp;
            1.0 / (factor as f32 * period) * (1.0 - kept) + 1.0 / period * kept
        };
        periods(rotary_dim, theta).enumerate().map(blend).collect()
    }

    /// The pairs at which YaRN's ramp begins and ends.
    fn yarn_ramp(&self, rotary_dim: usize, theta: f64) -> (f64, f64) {
        let &Self::Yarn {
            original_max_position_embeddings, beta_fast, beta_slow, truncate, ..
        } = self
        else {
            return (0.0, 0.0);
        };
        let dim = rotary_dim as f64;
        let pair_with = |num_turns: f64| {
            let original = original_max_position_embeddings as f64;
            dim * (original / (num_turns * TAU)).ln() / (2.0 * theta.ln())
        };
        let (mut low, mut high) = (pair_with(beta_fast), pair_with(beta_slow));
        if truncate {
            (low, high) = (low.floor(), high.ceil());
        }
        (low, high) = (low.max(0.0), high.min(dim - 1.0));
        if (high - low) as f32 == 0.0 {
            high += 0.001; // A ramp of no width would divide by zero.
        }
        (low, high)
    }

    fn attention_factor(&self) -> f64 {
        let &Self::Yarn { factor, attention_factor, mscale, mscale_all_dim, .. } = self else {
            return 1.0;
        };
        let scale =
            |weight: f64| if factor <= 1.0 { 1.0 } else { 0.1 * weight * factor.ln() + 1.0 };
        let derived = match (mscale, mscale_all_dim) {
            (Some(mscale), Some(all)) if mscale != 0.0 && all != 0.0 => scale(mscale) / scale(all),
            _ => scale(1.0),
        };
        attention_factor.unwrap_or(derived)
    }
}

/// Positions per radian of each pair: theta^(2i / rotary_dim), the exponent rounded to f32.
fn periods(rotary_dim: usize, theta: f64) -> impl Iterator<Item = f32> {
    let theta = f64::from(theta as f32);
    (0..rotary_dim).step_by(2).map(move |dim_idx| {
        let exponent = dim_idx as f32 / rotary_dim as f32;
        theta.powf(f64::from(exponent)) as f32
    })
}

/// What the config says about rotary embeddings, in either spelling.
pub(super) struct RopeFields {
    pub(super) rope: Rope,
    pub(super) theta: f64,
    pub(super) rotary_dim: usize,
}

impl RopeFields {
    /// transformers 4 wrote `rope_theta` beside an optional `rope_scaling`; 5 writes both into
    /// `rope_parameters`, and prefers what is inside.
    pub(super) fn read(
        fields: &Fields<'_>,
        architecture: Architecture,
        head_dim: usize,
        max_positions: usize,
    ) -> Result<Self, ConfigError> {
        let params = match fields.object("rope_scaling")? {
            Some(params) => Some(params),
            None => fields.object("rope_parameters")?,
        };
        let holder = |key| params.as_ref().filter(|params| params.get(key).is_some());
        let theta_in = holder("rope_theta").unwrap_or(fields);
        let share_in = holder("partial_rotary_factor").unwrap_or(fields);
        let default_theta = if architecture == Architecture::Mixtral { 1e6 } else { 1e4 };
        let theta = theta_in.number("rope_theta", 1.000001..=1e30, "a number above 1")?;
        let rope = match &params {
            Some(params) => read_rope(params, fields, max_positions)?,
            None => Rope::Default,
        };
        let rotary_dim = read_rotary_dim(share_in, head_dim)?;
        Ok(Self { rope, theta: theta.unwrap_or(default_theta), rotary_dim })
    }
}

fn read_rotary_dim(fields: &Fields<'_>, head_dim: usize) -> Result<usize, ConfigError> {
    let key = "partial_rotary_factor";
    let share = fields.number(key, 1e-9..=1.0, "a number above 0, at most 1")?.unwrap_or(1.0);
    let rotary_dim = (head_dim as f64 * share) as usize;
    if rotary_dim >= 2 && rotary_dim.is_multiple_of(2) {
        return Ok(rotary_dim);
    }
    let problem = format!("{rotary_dim} dimensions are rotated in pairs; expected an even number");
    Err(ConfigError::value("head_dim", head_dim, problem))
}

fn read_rope(
    params: &Fields<'_>,
    top: &Fields<'_>,
    max_positions: usize,
) -> Result<Rope, ConfigError> {
    let type_key = if params.get("rope_type").is_some() { "rope_type" } else { "type" };
    let original = || -> Result<usize, ConfigError> {
        let key = "original_max_position_embeddings";
        let original = match top.size(key)? {
            Some(original) => Some(original),
            None => params.size(key)?,
        };
        Ok(original.unwrap_or(max_positions))
    };
    match params.text(type_key)? {
        None if params.get("full_attention").is_some() => {
            Err(params.refuse("full_attention", "a rope for each layer type is not supported"))
        }
        None | Some("default") => Ok(Rope::Default),
        Some("linear") => Ok(Rope::Linear { factor: params.required_positive("factor")? }),
        Some("llama3") => read_llama3(params, original()?),
        Some("yarn") => read_yarn(params, original()?, max_positions),
        Some(_) => {
            let problem = "the supported types are default, linear, llama3 and yarn";
            Err(params.refuse(type_key, problem))
        }
    }
}

fn read_llama3(params: &Fields<'_>, original: usize) -> Result<Rope, ConfigError> {
    let low_freq_factor = params.required_positive("low_freq_factor")?;
    let high_freq_factor = params.required_positive("high_freq_factor")?;
    if (high_freq_factor - low_freq_factor) as f32 <= 0.0 {
        let problem = format!("expected more than low_freq_factor = {low_freq_factor}");
        return Err(params.refuse("high_freq_factor", problem));
    }
    Ok(Rope::Llama3 {
        factor: params.required_positive("factor")?,
        low_freq_factor,
        high_freq_factor,
        original_max_position_embeddings: original,
    })
}

fn read_yarn(
    params: &Fields<'_>,
    original: usize,
    max_positions: usize,
) -> Result<Rope, ConfigError> {
    let number = |key| params.number(key, 0.0..=1e30, "a number from 0");
    // transformers reads a 0 as absent.
    let beta = |key| -> Result<_, ConfigError> { Ok(number(key)?.filter(|&beta| beta > 1e-30)) };
    let stretch = max_positions as f64 / original as f64;
    Ok(Rope::Yarn {
        factor: params.positive("factor")?.unwrap_or(stretch),
        original_max_position_embeddings: original,
        beta_fast: beta("beta_fast")?.unwrap_or(32.0),
        beta_slow: beta("beta_slow")?.unwrap_or(1.0),
        attention_factor: params.positive("attention_factor")?,
        mscale: number("mscale")?,
        mscale_all_dim: number("mscale_all_dim")?,
        truncate: params.flag("truncate")?.unwrap_or(true),
    })
}

#[cfg(test)]
mod tests;
