//! Chips that planning is tested for.

use super::Chip;

/// As an H200.
pub(super) const HOPPER: Chip = Chip {
    compute_capability: (9, 0),
    num_sms: 132,
    max_shared_bytes: 227 << 10,
    clusters_of_4: 30,
};

/// As an A100.
pub(super) const AMPERE: Chip = Chip {
    compute_capability: (8, 0),
    num_sms: 108,
    max_shared_bytes: 163 << 10,
    clusters_of_4: 0,
};
