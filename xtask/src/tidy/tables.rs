//! The rules that are data. A new crate, an exception or another limit is a line here.

/// Most lines in a Rust file, tests included.
pub(super) const MAX_FILE_LINES: usize = 500;
/// Most lines in a function, from `fn` to its closing brace.
pub(super) const MAX_FUNCTION_LINES: usize = 70;
/// Most characters in a line. rustfmt wraps code there, but neither comments nor literals.
pub(super) const MAX_COLUMNS: usize = 100;

/// What a crate may depend on.
pub(super) enum Allowed {
    /// These packages and no others.
    Only(&'static [&'static str]),
    /// Whatever it likes: nothing depends on it in turn.
    Anything,
}

/// A row of the layer table.
pub(super) struct Crate {
    /// Package name.
    pub(super) name: &'static str,
    /// Folder, relative to the root.
    pub(super) folder: &'static str,
    /// Packages of this workspace that it may use.
    pub(super) ours: Allowed,
    /// Packages from the registry that it may use.
    pub(super) external: Allowed,
}

/// The layers, lowest first. A dependency that is no entry here is a change of the architecture:
/// it belongs in `docs/ARCHITECTURE.md` too.
pub(super) const CRATES: &[Crate] = &[
    Crate {
        name: "tintype-config",
        folder: "crates/tintype-config",
        ours: Allowed::Only(&[]),
        external: Allowed::Only(&["serde", "serde_json", "thiserror"]),
    },
    Crate {
        name: "tintype-ops",
        folder: "crates/tintype-ops",
        ours: Allowed::Only(&[]),
        external: Allowed::Only(&["bytemuck", "half", "thiserror"]),
    },
    Crate {
        name: "tintype-cpu",
        folder: "crates/tintype-cpu",
        ours: Allowed::Only(&["tintype-ops"]),
        external: Allowed::Only(&["bytemuck", "half", "pulp", "rayon"]),
    },
    Crate {
        name: "tintype-kernels",
        folder: "kernels",
        ours: Allowed::Only(&[]),
        external: Allowed::Only(&["bytemuck"]),
    },
    Crate {
        name: "tintype-cuda",
        folder: "crates/tintype-cuda",
        ours: Allowed::Only(&["tintype-kernels", "tintype-ops"]),
        external: Allowed::Only(&["bytemuck", "cudarc", "thiserror"]),
    },
    Crate {
        name: "ptx-interp",
        folder: "crates/ptx-interp",
        ours: Allowed::Only(&[]),
        external: Allowed::Only(&["rayon", "thiserror"]),
    },
    Crate {
        name: "fake-cuda",
        folder: "crates/fake-cuda",
        ours: Allowed::Only(&["ptx-interp"]),
        external: Allowed::Only(&[]),
    },
    Crate {
        name: "tintype-graph",
        folder: "crates/tintype-graph",
        ours: Allowed::Only(&["tintype-config", "tintype-ops"]),
        external: Allowed::Only(&["serde", "thiserror", "tracing"]),
    },
    Crate {
        name: "tintype-model",
        folder: "crates/tintype-model",
        ours: Allowed::Only(&["tintype-config", "tintype-ops"]),
        external: Allowed::Only(&[
            "bytemuck",
            "half",
            "memmap2",
            "safetensors",
            "serde",
            "serde_json",
            "thiserror",
        ]),
    },
    Crate {
        name: "tintype-runner",
        folder: "crates/tintype-runner",
        ours: Allowed::Only(&["tintype-config", "tintype-graph", "tintype-model", "tintype-ops"]),
        external: Allowed::Only(&[
            "bytemuck",
            "minijinja",
            "minijinja-contrib",
            "serde",
            "serde_json",
            "thiserror",
            "tokenizers",
            "tracing",
        ]),
    },
    Crate {
        name: "tintype",
        folder: "crates/tintype",
        ours: Allowed::Only(&[
            "tintype-config",
            "tintype-cpu",
            "tintype-cuda",
            "tintype-graph",
            "tintype-model",
            "tintype-ops",
            "tintype-runner",
        ]),
        external: Allowed::Only(&[
            "anyhow",
            "clap",
            "ctrlc",
            "indicatif",
            "serde",
            "serde_json",
            "tracing",
            "tracing-subscriber",
        ]),
    },
    Crate {
        name: "xtask",
        folder: "xtask",
        ours: Allowed::Only(&[]),
        external: Allowed::Only(&["anyhow", "clap", "hmac-sha256", "serde_json"]),
    },
    Crate { name: TESTS, folder: "tests", ours: Allowed::Anything, external: Allowed::Anything },
];

/// The package that nothing may depend on, not even a test.
pub(super) const TESTS: &str = "tintype-tests";

/// Code that may not occur, save where it may.
pub(super) struct Ban {
    /// Text to look for outside comments and literals, at word boundaries.
    pub(super) code: &'static str,
    /// The reason and the way out.
    pub(super) why: &'static str,
    /// Files, or folders ending in `/`, that are free to use it.
    pub(super) except: &'static [&'static str],
}

/// What is banned.
pub(super) const BANS: &[Ban] = &[
    Ban {
        code: "unsafe",
        why: "soundness is argued in few places: the files listed in `BANS` of xtask's tables",
        except: &["crates/fake-cuda/", "crates/tintype-cuda/", "crates/tintype-model/src/mmap.rs"],
    },
    Ban { code: "todo!", why: "a stub must not pass for a feature: leave it out", except: &[] },
    Ban {
        code: "unimplemented!",
        why: "a stub must not pass for a feature: return an error that says what is supported",
        except: &[],
    },
    Ban {
        code: "#[ignore",
        why: "a test that never runs proves nothing: make it quick, or delete it",
        except: &[],
    },
    Ban {
        code: "#[should_panic",
        why: "bad input ends in an error, not in a panic: assert on the error",
        except: &[],
    },
    Ban {
        code: "(feature = ",
        why: "no cargo feature selects code: a backend is chosen at run time, in the binary",
        except: &[],
    },
    Ban {
        code: "env::var",
        why: "libraries take configuration as arguments: only programs read the environment",
        except: &["crates/fake-cuda/", "crates/tintype/", "tests/", "xtask/"],
    },
];
