//! What the rules of the compilation config must know about a stream.

use tintype_config::Backend;
use tintype_ops::{Op, Stream};

/// Describes `stream` to [`tintype_config::resolve`].
#[must_use]
pub fn backend_of<S: Stream>(stream: &S) -> Backend {
    use tintype_config::GraphSupport as Config;
    use tintype_ops::GraphSupport as Ops;
    let info = stream.device_info();
    Backend {
        name: info.name,
        can_capture: info.can_capture,
        graph_support: match info.graph_support {
            Ops::Never => Config::Never,
            Ops::UniformSingleTokenDecode => Config::UniformSingleTokenDecode,
            Ops::UniformBatch => Config::UniformBatch,
            Ops::Always => Config::Always,
        },
        splittable_ops: Op::NAMES.map(str::to_owned).to_vec(),
    }
}
