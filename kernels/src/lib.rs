//! CUDA C++ kernels for every op, as the PTX that was built from them, and the parameters that each
//! takes.
//!
//! `cargo xtask build-kernels` compiles each `*.cu` once per target and writes `ptx/`,
//! `manifest.json` and the table in `src/images.rs`; nothing but that command needs nvcc.

/// The images of one target. Each stands with the architectures that machine code was assembled
/// for, and with its entry points and what they take.
macro_rules! images {
    (
        $(#[$doc:meta])*
        $set:ident = $target:literal:
        $($name:ident [$($arch:literal)*] { $($entry:ident($params:ident))* })*
    ) => {
        $(#[$doc])*
        pub(crate) static $set: &[crate::Image] = &[$(crate::Image {
            name: stringify!($name),
            target: $target,
            ptx: include_str!(concat!("../ptx/", stringify!($name), ".", $target, ".ptx")),
            cubins: &[$((
                $arch,
                include_bytes!(concat!("../cubin/", stringify!($name), ".", $arch, ".cubin")),
            )),*],
            entry_points: &[$(crate::EntryPoint {
                name: stringify!($entry),
                params: stringify!($params),
                params_bytes: size_of::<crate::params::$params>(),
            }),*],
        }),*];
    };
}

mod images;
pub mod params;

/// The PTX of one source file, built for one target.
#[derive(Debug)]
pub struct Image {
    /// The source file's name without `.cu`.
    pub name: &'static str,
    /// The architecture that its `.target` names: `sm_80` or `sm_90a`.
    pub target: &'static str,
    /// PTX text.
    pub ptx: &'static str,
    /// Machine code assembled from the PTX ahead of time: architecture and ELF image. Empty unless
    /// the build was asked for it.
    pub cubins: &'static [(&'static str, &'static [u8])],
    /// Its entry points, in order of name.
    pub entry_points: &'static [EntryPoint],
}

impl Image {
    /// The machine code for exactly the chips of this compute capability, which a driver loads
    /// without compiling anything.
    #[must_use]
    pub fn cubin(&self, compute_capability: (u32, u32)) -> Option<&'static [u8]> {
        let (major, minor) = compute_capability;
        let names = [format!("sm_{major}{minor}"), format!("sm_{major}{minor}a")];
        let found = self.cubins.iter().find(|(arch, _)| names.iter().any(|name| name == arch));
        found.map(|(_, image)| *image)
    }
}

/// A kernel, and the parameter that it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryPoint {
    /// Name in the PTX.
    pub name: &'static str,
    /// Name of the parameter's type in [`params`].
    pub params: &'static str,
    /// Size of that type in bytes: the kernel takes exactly so many, and the driver does not check.
    pub params_bytes: usize,
}

/// The images to load on a chip of this compute capability, in order of name; `None` where none of
/// them runs: below 8.0.
#[must_use]
pub fn images(compute_capability: (u32, u32)) -> Option<&'static [Image]> {
    match compute_capability {
        (9, 0) => Some(images::SM_90A),
        (8.., _) => Some(images::SM_80),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(compute_capability: (u32, u32)) -> Option<&'static str> {
        images(compute_capability)?.first().map(|image| image.target)
    }

    #[test]
    fn each_chip_gets_the_set_that_runs_on_it() {
        assert_eq!(target((7, 5)), None);
        for later in [(8, 0), (8, 9), (10, 0), (12, 1)] {
            assert_eq!(target(later), Some("sm_80"));
        }
        assert_eq!(target((9, 0)), Some("sm_90a"));
    }

    #[test]
    fn machine_code_is_taken_for_its_own_chip_only() {
        let cubins: &[(&str, &[u8])] = &[("sm_89", &[1]), ("sm_90a", &[2])];
        let image = Image { name: "", target: "", ptx: "", cubins, entry_points: &[] };
        assert_eq!(image.cubin((8, 9)), Some(&[1][..]));
        assert_eq!(image.cubin((9, 0)), Some(&[2][..]));
        assert_eq!(image.cubin((8, 0)), None);
    }
}
