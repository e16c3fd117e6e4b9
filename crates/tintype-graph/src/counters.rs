//! How many steps replayed what, and how many did not and why.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use crate::{EagerReason, GraphKey};

/// Counts of steps. Every step is counted exactly once: as a replay of a graph, or as eager for
/// a reason.
///
/// Serialises as `{"graph_replays": 12, "eager_steps": {"above-largest": 1}}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    #[serde(rename = "graph_replays", serialize_with = "sum")]
    replays: BTreeMap<GraphKey, u64>,
    #[serde(rename = "eager_steps")]
    eager: BTreeMap<EagerReason, u64>,
}

impl Counters {
    /// Steps that replayed the graph of `key`.
    #[must_use]
    pub fn replays(&self, key: GraphKey) -> u64 {
        self.replays.get(&key).copied().unwrap_or(0)
    }

    /// Steps that replayed a graph.
    #[must_use]
    pub fn total_replays(&self) -> u64 {
        self.replays.values().sum()
    }

    /// Steps that ran eagerly for `reason`.
    #[must_use]
    pub fn eager_steps(&self, reason: EagerReason) -> u64 {
        self.eager.get(&reason).copied().unwrap_or(0)
    }

    /// Steps that ran eagerly.
    #[must_use]
    pub fn total_eager(&self) -> u64 {
        self.eager.values().sum()
    }

    /// The graphs that were replayed, and how often.
    pub fn iter_replays(&self) -> impl Iterator<Item = (GraphKey, u64)> + '_ {
        self.replays.iter().map(|(&key, &count)| (key, count))
    }

    /// The reasons for which steps ran eagerly, and how many did.
    pub fn iter_eager(&self) -> impl Iterator<Item = (EagerReason, u64)> + '_ {
        self.eager.iter().map(|(&reason, &count)| (reason, count))
    }

    pub(crate) fn count_replay(&mut self, key: GraphKey) {
        *self.replays.entry(key).or_default() += 1;
    }

    pub(crate) fn count_eager(&mut self, reason: EagerReason) {
        *self.eager.entry(reason).or_default() += 1;
    }
}

fn sum<S: Serializer>(replays: &BTreeMap<GraphKey, u64>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(replays.values().sum())
}
