//! Stream capture.

use crate::capture::{CaptureMode, CaptureStatus};
use crate::driver::{Caller, Driver};
use crate::error::{Failure, Result};
use crate::ffi::Out;
use crate::graph::node_handle;
use crate::handle::Handle;
use crate::types::EdgeData;

exports! {
    Context cuStreamBeginCapture_v2(stream: Handle, mode: u32) |driver, caller| {
        driver.begin_capture(stream, CaptureMode::new(mode)?, caller)
    };
    Context cuStreamEndCapture(stream: Handle, graph: Out<Handle>) |driver, caller| {
        let result = driver.end_capture(stream, caller);
        graph.set_if_wanted(*result.as_ref().unwrap_or(&Handle::NULL));
        result.map(drop)
    };
    Context cuStreamIsCapturing(stream: Handle, status: Out<u32>) |driver, caller| {
        let stream = driver.streams.resolve(stream, caller)?;
        status.set(driver.capture_status(stream)? as u32)
    };
    Context cuStreamGetCaptureInfo_v2(
        stream: Handle,
        status: Out<u32>,
        id: Out<u64>,
        graph: Out<Handle>,
        dependencies: Out<usize>,
        count: Out<usize>,
    ) |driver, caller| {
        let info = Info { status, id, graph, dependencies, edges: None, count };
        info.fill(driver, stream, caller)
    };
    Context cuStreamGetCaptureInfo_v3(
        stream: Handle,
        status: Out<u32>,
        id: Out<u64>,
        graph: Out<Handle>,
        dependencies: Out<usize>,
        edges: Out<usize>,
        count: Out<usize>,
    ) |driver, caller| {
        let info = Info { status, id, graph, dependencies, edges: Some(edges), count };
        info.fill(driver, stream, caller)
    };
    Init cuThreadExchangeStreamCaptureMode(mode: Out<u32>) |driver, caller| {
        mode.set(driver.exchange_mode(mode.get()?, caller)?)
    };
}

/// Where `cuStreamGetCaptureInfo` puts what it finds.
struct Info {
    status: Out<u32>,
    id: Out<u64>,
    graph: Out<Handle>,
    /// Array of nodes, which the library owns.
    dependencies: Out<usize>,
    edges: Option<Out<usize>>,
    count: Out<usize>,
}

impl Info {
    fn fill(&self, driver: &mut Driver, stream: Handle, caller: &Caller) -> Result<()> {
        let stream = driver.streams.resolve(stream, caller)?;
        let status = driver.capture_status(stream)?;
        self.status.set(status as u32)?;
        if status != CaptureStatus::Active {
            return Ok(());
        }
        let (graph, tail) = driver.capture_position(stream);
        self.id.set_if_wanted(graph.0 as u64);
        self.graph.set_if_wanted(graph);
        let nodes = tail.iter().map(|&index| node_handle(graph, index));
        let nodes = nodes.collect::<Result<Vec<Handle>, Failure>>()?;
        self.count.set_if_wanted(nodes.len());
        let lent = driver.lend(nodes, vec![EdgeData::default(); tail.len()]);
        self.dependencies.set_if_wanted(lent.0);
        if let Some(edges) = self.edges {
            edges.set_if_wanted(lent.1);
        }
        Ok(())
    }
}
