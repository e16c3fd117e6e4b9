//! The macro that makes functions of the driver API out of their bodies.

/// Declares functions of the C interface, and `symbols`, which lists them with their addresses.
///
/// Each line reads: what must be in order before the call, the name and the arguments as `cuda.h`
/// has them, and the body, which gets the driver and the calling thread and returns a `Result`.
macro_rules! exports {
    ($(
        $needs:ident $name:ident($($arg:ident: $ty:ty),* $(,)?)
        |$driver:pat_param, $caller:pat_param| $body:expr;
    )*) => {
        $(
            // The one unsafety of a shim is that its name must be unique, as the API's names are.
            #[allow(unsafe_code, non_snake_case)]
            #[unsafe(no_mangle)]
            pub(crate) extern "C" fn $name($($arg: $ty),*) -> $crate::error::Code {
                $crate::driver::call(
                    stringify!($name),
                    $crate::driver::Needs::$needs,
                    |$driver, $caller| $body,
                )
            }
        )*

        /// Name and address of every function declared here.
        pub(crate) fn symbols() -> Vec<(&'static str, usize)> {
            vec![$((stringify!($name), $name as *const () as usize)),*]
        }
    };
}
