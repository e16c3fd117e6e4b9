//! The driver API by `dlopen` and `dlsym`: as little as possible between a row and the driver.
#![allow(unsafe_code, non_snake_case)]

use std::ffi::{CStr, CString, c_char, c_int, c_void};

unsafe extern "C" {
    fn dlopen(path: *const c_char, flags: c_int) -> *mut c_void;
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
    fn dlerror() -> *const c_char;
}

const RTLD_NOW: c_int = 2;

/// An opaque handle: context, stream, event, module, function, graph, node...
pub(crate) type Handle = usize;

/// Declares the functions of the driver with the types of their arguments, references for pointers
/// that may not be null.
macro_rules! driver_functions {
    ($($name:ident($($arg:ident: $ty:ty),*);)*) => {
        /// The functions of one driver library.
        pub(crate) struct Api {
            /// Whether the library is the fake driver.
            pub(crate) is_fake: bool,
            $($name: unsafe extern "C" fn($($ty),*) -> u32,)*
        }

        impl Api {
            /// Loads the library at `path`.
            ///
            /// # Errors
            /// If it cannot be loaded or lacks a function.
            pub(crate) fn load(path: &str) -> Result<Api, String> {
                let library = open(path)?;
                Ok(Api {
                    is_fake: find(library, "fakeCudaVersion").is_ok(),
                    $($name: {
                        let address = find(library, stringify!($name))?;
                        // SAFETY: the function of this name takes these arguments (`cuda.h`), and
                        // the library is never unloaded.
                        unsafe {
                            std::mem::transmute::<
                                *mut c_void,
                                unsafe extern "C" fn($($ty),*) -> u32,
                            >(address)
                        }
                    },)*
                })
            }

            $(
                /// The driver's function of this name; returns its `CUresult`.
                #[allow(clippy::too_many_arguments)]
                pub(crate) fn $name(&self, $($arg: $ty),*) -> u32 {
                    // SAFETY: references are valid for the call; addresses of host memory are of
                    // buffers that the row keeps until it has synchronised; handles and device
                    // addresses cannot harm this process.
                    unsafe { (self.$name)($($arg),*) }
                }
            )*
        }
    };
}

driver_functions! {
    cuInit(flags: u32);
    cuDeviceGetAttribute(value: &mut i32, attribute: i32, device: i32);
    cuDevicePrimaryCtxRetain(context: &mut Handle, device: i32);
    cuDevicePrimaryCtxReset_v2(device: i32);
    cuCtxSetCurrent(context: Handle);
    cuCtxSynchronize();
    cuMemGetInfo_v2(free: &mut usize, total: &mut usize);
    cuMemAlloc_v2(address: &mut u64, bytes: usize);
    cuMemFree_v2(address: u64);
    cuMemHostAlloc(address: &mut usize, bytes: usize, flags: u32);
    cuMemHostGetDevicePointer_v2(device: &mut u64, host: usize, flags: u32);
    cuMemFreeHost(address: usize);
    cuMemcpy2DAsync_v2(copy: &[u64; 16], stream: Handle);
    cuMemAllocAsync(address: &mut u64, bytes: usize, stream: Handle);
    cuMemFreeAsync(address: u64, stream: Handle);
    cuMemcpyHtoD_v2(to: u64, from: *const u8, bytes: usize);
    cuMemcpyDtoH_v2(to: *mut u8, from: u64, bytes: usize);
    cuMemcpyHtoDAsync_v2(to: u64, from: *const u8, bytes: usize, stream: Handle);
    cuMemcpyDtoHAsync_v2(to: *mut u8, from: u64, bytes: usize, stream: Handle);
    cuMemsetD8_v2(address: u64, value: u8, count: usize);
    cuMemsetD8Async(address: u64, value: u8, count: usize, stream: Handle);
    cuMemAddressReserve(address: &mut u64, bytes: usize, align: usize, wanted: u64, flags: u64);
    cuMemCreate(handle: &mut Handle, bytes: usize, prop: &MemProp, flags: u64);
    cuMemMap(address: u64, bytes: usize, offset: usize, handle: Handle, flags: u64);
    cuMemSetAccess(address: u64, bytes: usize, access: &MemAccess, count: usize);
    cuMemUnmap(address: u64, bytes: usize);
    cuMemRelease(handle: Handle);
    cuStreamCreate(stream: &mut Handle, flags: u32);
    cuStreamDestroy_v2(stream: Handle);
    cuStreamSynchronize(stream: Handle);
    cuStreamQuery(stream: Handle);
    cuStreamWaitEvent(stream: Handle, event: Handle, flags: u32);
    cuStreamBeginCapture_v2(stream: Handle, mode: u32);
    cuStreamEndCapture(stream: Handle, graph: &mut Handle);
    cuStreamIsCapturing(stream: Handle, status: &mut u32);
    cuEventCreate(event: &mut Handle, flags: u32);
    cuEventRecord(event: Handle, stream: Handle);
    cuEventQuery(event: Handle);
    cuEventSynchronize(event: Handle);
    cuModuleLoadData(module: &mut Handle, image: *const c_char);
    cuModuleLoadDataEx(
        module: &mut Handle,
        image: *const c_char,
        count: u32,
        options: *const u32,
        values: *mut usize
    );
    cuModuleUnload(module: Handle);
    cuModuleGetFunction(function: &mut Handle, module: Handle, name: *const c_char);
    cuModuleGetGlobal_v2(address: &mut u64, bytes: &mut usize, module: Handle, name: *const c_char);
    cuFuncSetAttribute(function: Handle, attribute: i32, value: i32);
    cuFuncGetParamInfo(function: Handle, index: usize, offset: &mut usize, bytes: &mut usize);
    cuLaunchKernel(
        function: Handle,
        grid_x: u32,
        grid_y: u32,
        grid_z: u32,
        block_x: u32,
        block_y: u32,
        block_z: u32,
        shared: u32,
        stream: Handle,
        params: *const *const c_void,
        extra: *const usize
    );
    cuLaunchKernelEx(
        config: &LaunchConfig,
        function: Handle,
        params: *const *const c_void,
        extra: *const usize
    );
    cuLaunchHostFunc(stream: Handle, function: extern "C" fn(*mut c_void), data: usize);
    cuGraphCreate(graph: &mut Handle, flags: u32);
    cuGraphInstantiateWithFlags(exec: &mut Handle, graph: Handle, flags: u64);
    cuGraphUpload(exec: Handle, stream: Handle);
    cuGraphLaunch(exec: Handle, stream: Handle);
    cuGraphExecDestroy(exec: Handle);
    cuGraphDestroy(graph: Handle);
    cuGraphGetNodes(graph: Handle, nodes: *mut Handle, count: &mut usize);
    cuGraphNodeGetType(node: Handle, kind: &mut u32);
    cuGraphGetEdges_v2(
        graph: Handle,
        from: *mut Handle,
        to: *mut Handle,
        data: *mut [u8; 8],
        count: &mut usize
    );
    cuGraphExecUpdate_v2(exec: Handle, graph: Handle, info: &mut [usize; 3]);
}

/// `CUmemAllocationProp`.
#[repr(C)]
pub(crate) struct MemProp {
    /// Type, handle types, type of the location, device.
    pub(crate) words: [u32; 4],
    /// What other systems and features use.
    pub(crate) rest: [u64; 2],
}

/// `CUmemAccessDesc`: type of the location, device, access.
#[repr(C)]
pub(crate) struct MemAccess(pub(crate) [u32; 3]);

/// `CUlaunchConfig`.
#[repr(C)]
pub(crate) struct LaunchConfig {
    /// Grid, block and dynamic shared memory.
    pub(crate) shape: [u32; 7],
    /// The stream.
    pub(crate) stream: Handle,
    /// The attributes.
    pub(crate) attributes: *const LaunchAttribute,
    /// How many there are.
    pub(crate) num_attributes: u32,
}

/// `CUlaunchAttribute`.
#[repr(C, align(8))]
pub(crate) struct LaunchAttribute {
    /// The attribute's id, and padding.
    pub(crate) id: [u32; 2],
    /// Its value.
    pub(crate) value: [u32; 16],
}

fn open(path: &str) -> Result<*mut c_void, String> {
    let c_path = CString::new(path).map_err(|error| error.to_string())?;
    // SAFETY: a terminated path.
    let library = unsafe { dlopen(c_path.as_ptr(), RTLD_NOW) };
    if library.is_null() {
        // SAFETY: the call above failed, so there is a message.
        return Err(unsafe { CStr::from_ptr(dlerror()) }.to_string_lossy().into_owned());
    }
    Ok(library)
}

fn find(library: *mut c_void, name: &str) -> Result<*mut c_void, String> {
    let c_name = CString::new(name).map_err(|error| error.to_string())?;
    // SAFETY: a library from `dlopen` and a terminated name.
    let address = unsafe { dlsym(library, c_name.as_ptr()) };
    if address.is_null() { Err(format!("the library has no {name}")) } else { Ok(address) }
}
