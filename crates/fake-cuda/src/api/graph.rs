//! Graphs.

use std::ffi::c_char;

use crate::capture::Unsafe;
use crate::driver::Driver;
use crate::error::{Code, Result};
use crate::ffi::{Extra, In, KernelParams, Out};
use crate::graph::{graph_of, node_handle};
use crate::graph_exec::update;
use crate::handle::Handle;
use crate::types::{EdgeData, InstantiateParams, KernelNodeParams, UpdateResult};

/// `CU_GRAPH_INSTANTIATE_FLAG_UPLOAD`.
const UPLOAD: u64 = 2;

exports! {
    Context cuGraphCreate(graph: Out<Handle>, _flags: u32) |driver, _| {
        graph.set(driver.graph_create())
    };
    Context cuGraphClone(clone: Out<Handle>, graph: Handle) |driver, _| {
        clone.set(driver.graph_clone(graph)?)
    };
    Context cuGraphDestroy(graph: Handle) |driver, _| driver.graph_destroy(graph);
    Context cuGraphInstantiateWithFlags(exec: Out<Handle>, graph: Handle, flags: u64)
        |driver, caller| exec.set(driver.graph_instantiate(graph, flags, caller)?);
    Context cuGraphInstantiateWithParams(
        exec: Out<Handle>,
        graph: Handle,
        params: Out<InstantiateParams>,
    ) |driver, caller| {
        let wanted = params.get()?;
        let made = driver.graph_instantiate(graph, wanted.flags, caller);
        let result = u32::from(made.is_err());
        params.set(InstantiateParams { error_node: Handle::NULL, result, ..wanted })?;
        let made = made?;
        if wanted.flags & UPLOAD != 0 {
            driver.graph_upload(made, wanted.upload_stream, caller)?;
        }
        exec.set(made)
    };
    Context cuGraphUpload(exec: Handle, stream: Handle) |driver, caller| {
        driver.graph_upload(exec, stream, caller)
    };
    Context cuGraphLaunch(exec: Handle, stream: Handle) |driver, caller| {
        driver.graph_launch(exec, stream, caller)
    };
    Context cuGraphExecDestroy(exec: Handle) |driver, _| driver.graph_exec_destroy(exec);
    Context cuGraphExecGetFlags(exec: Handle, flags: Out<u64>) |driver, _| {
        flags.set(driver.execs.get(exec)?.flags)
    };
    Context cuGraphExecUpdate_v2(exec: Handle, graph: Handle, info: Out<UpdateResult>)
        |driver, caller| {
            driver.forbid_in_capture(Unsafe("cuGraphExecUpdate"), caller)?;
            let (result, index) = driver.graph_exec_update(exec, graph)?;
            let error_node = index.map_or(Ok(Handle::NULL), |index| node_handle(graph, index))?;
            info.set(UpdateResult { result, error_node, ..UpdateResult::default() })?;
            match result {
                update::SUCCESS => Ok(()),
                _ => Code::GRAPH_EXEC_UPDATE_FAILURE.err(format!("update result {result}")),
            }
        };

    Context cuGraphGetNodes(graph: Handle, nodes: Out<Handle>, count: Out<usize>) |driver, _| {
        list(driver.graph_nodes(graph, false)?, nodes, count)
    };
    Context cuGraphGetRootNodes(graph: Handle, nodes: Out<Handle>, count: Out<usize>)
        |driver, _| list(driver.graph_nodes(graph, true)?, nodes, count);
    Context cuGraphGetEdges(graph: Handle, from: Out<Handle>, to: Out<Handle>, count: Out<usize>)
        |driver, _| {
            let edges = driver.graph_edges(graph)?;
            let given = if from.is_null() { 0 } else { count.get()? };
            list(edges.iter().map(|edge| edge.0).collect(), from, count)?;
            to.set_all(edges.iter().take(given).map(|edge| edge.1))
        };
    Context cuGraphGetEdges_v2(
        graph: Handle,
        from: Out<Handle>,
        to: Out<Handle>,
        data: Out<EdgeData>,
        count: Out<usize>,
    ) |driver, _| {
        let edges = driver.graph_edges(graph)?;
        let given = if from.is_null() { 0 } else { count.get()? };
        list(edges.iter().map(|edge| edge.0).collect(), from, count)?;
        to.set_all(edges.iter().take(given).map(|edge| edge.1))?;
        data.set_all(edges.iter().take(given).map(|edge| edge.2))
    };
    Context cuGraphNodeGetDependencies(node: Handle, nodes: Out<Handle>, count: Out<usize>)
        |driver, _| {
            let graph = graph_of(node)?;
            let edges = driver.node(node)?.edges.iter();
            let handles = edges.map(|edge| node_handle(graph, edge.from)).collect::<Result<_>>()?;
            list(handles, nodes, count)
        };
    Context cuGraphNodeGetType(node: Handle, kind: Out<u32>) |driver, _| {
        kind.set(driver.node(node)?.operation.node_type())
    };
    Context cuGraphKernelNodeGetParams_v2(node: Handle, params: Out<KernelNodeParams>)
        |driver, _| params.set(kernel_params(driver, node)?);
    Context cuGraphKernelNodeSetParams_v2(node: Handle, params: In<KernelNodeParams>)
        |driver, _| driver.set_kernel_node(node, &params.get()?);
    Context cuGraphExecKernelNodeSetParams_v2(
        exec: Handle,
        node: Handle,
        params: In<KernelNodeParams>,
    ) |driver, _| driver.set_exec_kernel_node(exec, node, &params.get()?);
    Context cuGraphDebugDotPrint(graph: Handle, path: In<c_char>, _flags: u32) |driver, _| {
        let dot = driver.graph_dot(graph)?;
        std::fs::write(path.name()?, dot)
            .map_err(|error| Code::OPERATING_SYSTEM.because(error.to_string()))
    };
}

/// Tells how many there are if `out` is null; otherwise stores as many as there is room for.
fn list(handles: Vec<Handle>, out: Out<Handle>, count: Out<usize>) -> Result<()> {
    if out.is_null() {
        return count.set(handles.len());
    }
    let room = count.get()?;
    count.set(handles.len().min(room))?;
    // Places that are left over are null.
    out.set_all(handles.into_iter().chain(std::iter::repeat(Handle::NULL)).take(room))
}

/// A node's parameters; the values stay where they are as long as the node keeps them.
fn kernel_params(driver: &mut Driver, node: Handle) -> Result<KernelNodeParams> {
    let call = driver.kernel_node(node)?.clone();
    let kernel = call.image.loaded().module().kernel(&call.name);
    let offsets = kernel.into_iter().flat_map(|kernel| kernel.params()).map(|p| p.offset as usize);
    let pointers = offsets.map(|offset| call.params[offset..].as_ptr() as usize).collect();
    Ok(KernelNodeParams {
        function: call.function,
        grid: call.grid,
        block: call.block,
        shared_bytes: call.shared_bytes,
        kernel_params: KernelParams::lent(driver.lend_params(node, pointers)),
        extra: Extra::NULL,
        kernel: Handle::NULL,
        context: driver.context.unwrap_or_default(),
    })
}
