//! Functions: attributes, occupancy, launches.

use std::ffi::c_void;

use crate::error::{Code, Result};
use crate::ffi::{Extra, HostCall, In, KernelParams, Out, address_of};
use crate::handle::Handle;
use crate::launch::Shape;
use crate::operation::Operation;
use crate::types::LaunchConfig;

/// `CU_FUNCTION_LOADING_STATE_LOADED`.
const LOADED: u32 = 1;

/// A function of the program for a stream to call.
type HostFunction = Option<unsafe extern "C" fn(*mut c_void)>;

exports! {
    Context cuFuncGetAttribute(value: Out<u32>, attribute: u32, function: Handle) |driver, _| {
        value.set(driver.function_attribute(function, attribute)?)
    };
    Context cuFuncSetAttribute(function: Handle, attribute: u32, value: i32) |driver, _| {
        driver.set_function_attribute(function, attribute, value)
    };
    Context cuFuncSetCacheConfig(function: Handle, _config: u32) |driver, _| {
        driver.functions.get(function).map(drop)
    };
    Context cuFuncGetModule(module: Out<Handle>, function: Handle) |driver, _| {
        module.set(driver.functions.get(function)?.module)
    };
    Context cuFuncGetName(name: Out<usize>, function: Handle) |driver, _| {
        name.set(address_of(&driver.functions.get(function)?.c_name))
    };
    Context cuFuncGetParamInfo(
        function: Handle,
        index: usize,
        offset: Out<usize>,
        bytes: Out<usize>,
    ) |driver, _| {
        let (at, len) = driver.param_info(function, index)?;
        offset.set(at)?;
        bytes.set_if_wanted(len);
        Ok(())
    };
    Context cuFuncIsLoaded(state: Out<u32>, function: Handle) |driver, _| {
        driver.functions.get(function)?;
        state.set(LOADED)
    };
    Context cuFuncLoad(function: Handle) |driver, _| driver.functions.get(function).map(drop);

    Context cuOccupancyMaxActiveBlocksPerMultiprocessor(
        blocks: Out<i32>,
        function: Handle,
        threads: i32,
        shared: usize,
    ) |driver, _| blocks.set(driver.occupancy(function, threads, shared)?);
    Context cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
        blocks: Out<i32>,
        function: Handle,
        threads: i32,
        shared: usize,
        _flags: u32,
    ) |driver, _| blocks.set(driver.occupancy(function, threads, shared)?);
    Context cuOccupancyAvailableDynamicSMemPerBlock(
        bytes: Out<usize>,
        function: Handle,
        blocks: i32,
        _threads: i32,
    ) |driver, _| bytes.set(driver.shared_per_block(function, blocks)?);
    Context cuOccupancyMaxActiveClusters(
        clusters: Out<i32>,
        function: Handle,
        config: In<LaunchConfig>,
    ) |driver, _| clusters.set(driver.resident_clusters(function, &shape(config.get()?)?)?);

    Context cuLaunchKernel(
        function: Handle,
        grid_x: u32,
        grid_y: u32,
        grid_z: u32,
        block_x: u32,
        block_y: u32,
        block_z: u32,
        shared: u32,
        stream: Handle,
        params: KernelParams,
        extra: Extra,
    ) |driver, caller| {
        let shape = Shape::new([grid_x, grid_y, grid_z], [block_x, block_y, block_z], shared);
        driver.launch_kernel(function, shape, stream, params, extra, caller)
    };
    Context cuLaunchCooperativeKernel(
        function: Handle,
        grid_x: u32,
        grid_y: u32,
        grid_z: u32,
        block_x: u32,
        block_y: u32,
        block_z: u32,
        shared: u32,
        stream: Handle,
        params: KernelParams,
    ) |driver, caller| {
        let shape = Shape::new([grid_x, grid_y, grid_z], [block_x, block_y, block_z], shared);
        let shape = Shape { cooperative: true, ..shape };
        driver.launch_kernel(function, shape, stream, params, Extra::NULL, caller)
    };
    Context cuLaunchKernelEx(
        config: In<LaunchConfig>,
        function: Handle,
        params: KernelParams,
        extra: Extra,
    ) |driver, caller| {
        let config = config.get()?;
        driver.launch_kernel(function, shape(config)?, config.stream, params, extra, caller)
    };
    Context cuLaunchHostFunc(stream: Handle, function: HostFunction, data: usize)
        |driver, caller| {
            let stream = driver.streams.resolve(stream, caller)?;
            driver.or_invalidate(stream, |driver| {
                if function.is_none() {
                    return Code::INVALID_VALUE.err("the host function is null");
                }
                let call = Operation::Host(HostCall { function, data });
                driver.submit(stream, call, false).map(drop)
            })
        };
}

fn shape(config: LaunchConfig) -> Result<Shape> {
    let attributes = config.attributes.get_all(config.num_attributes as usize)?;
    Shape::new(config.grid, config.block, config.shared_bytes).with(&attributes)
}
