//! The functions that the library exports.

mod capture;
mod context;
mod control;
mod device;
mod event;
mod function;
mod graph;
mod library;
mod memory;
mod module;
mod pool;
mod stream;
mod vmm;

/// The address of an exported function, by its name in the library or by the name without the
/// version suffix, which means the newest.
pub(crate) fn find(name: &str) -> Option<usize> {
    let all = [
        capture::symbols(),
        context::symbols(),
        control::symbols(),
        device::symbols(),
        event::symbols(),
        function::symbols(),
        graph::symbols(),
        library::symbols(),
        memory::symbols(),
        module::symbols(),
        pool::symbols(),
        stream::symbols(),
        vmm::symbols(),
    ]
    .concat();
    ["_v3", "_v2", ""].iter().find_map(|suffix| {
        let full = format!("{name}{suffix}");
        all.iter().find(|(symbol, _)| *symbol == full).map(|&(_, address)| address)
    })
}
