//! The entry points of an image: what they take, and what they cost.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

/// What `ptxas` says about an entry point.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Resources {
    /// Registers of a thread.
    pub(super) registers: u32,
    /// Statically allocated shared memory of a block.
    pub(super) shared_bytes: u32,
    /// Local memory of a thread.
    pub(super) stack_bytes: u32,
    /// Bytes of registers that are stored to, or loaded from, local memory.
    pub(super) spill_bytes: u32,
}

/// A kernel in an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EntryPoint {
    /// Name.
    pub(super) name: String,
    /// Type of its only parameter.
    pub(super) params: String,
    /// Size of it.
    pub(super) params_bytes: u32,
    /// What it costs.
    pub(super) resources: Resources,
}

/// The entry points of `ptx`, in order of name. `preprocessed` is its source, `report` is what
/// `ptxas -v` says.
///
/// # Errors
/// When one of them is not `extern "C"` with exactly one struct as parameter.
pub(super) fn read(ptx: &str, preprocessed: &str, report: &str) -> Result<Vec<EntryPoint>> {
    let (types, costs) = (param_types(preprocessed), resources(report));
    let mut entry_points = Vec::new();
    for (name, params_bytes) in param_sizes(ptx)? {
        let params = types.get(name).cloned().with_context(|| {
            format!("{name} is no `extern \"C\" __global__ void {name}(const Params p)`")
        })?;
        let resources = costs.get(name).copied();
        let resources = resources.with_context(|| format!("ptxas says nothing about {name}"))?;
        entry_points.push(EntryPoint { name: name.into(), params, params_bytes, resources });
    }
    entry_points.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entry_points)
}

/// Each entry point of `ptx` with the size of its parameter.
fn param_sizes(ptx: &str) -> Result<Vec<(&str, u32)>> {
    let mut sizes = Vec::new();
    for declaration in ptx.split(".entry ").skip(1) {
        let (name, rest) = declaration.split_once('(').context("an .entry without parameters")?;
        let params = rest.split(')').next().unwrap_or_default();
        let size = params.split_once('[').and_then(|(_, size)| size.split(']').next());
        let size = size.filter(|_| !params.contains(','));
        let size = size.and_then(|size| size.parse().ok()).with_context(|| {
            format!("the entry point {name} takes `{}`, expected one struct", params.trim())
        })?;
        sizes.push((name, size));
    }
    Ok(sizes)
}

/// Each kernel of a source with the type of its only parameter.
fn param_types(preprocessed: &str) -> BTreeMap<String, String> {
    let declarations = preprocessed.split("__attribute__((global))").skip(1);
    declarations.filter_map(name_and_type).collect()
}

/// Reads ` void name(const Type p) { ...`.
fn name_and_type(declaration: &str) -> Option<(String, String)> {
    let signature = declaration.split(['{', ';']).next()?;
    let plain = without_attributes(signature);
    let (head, rest) = plain.split_once('(')?;
    let (params, _) = rest.split_once(')')?;
    if params.contains(',') {
        return None;
    }
    let name = head.split_whitespace().next_back()?;
    let kind = params.split_whitespace().rev().nth(1)?;
    Some((name.to_owned(), kind.to_owned()))
}

/// `text` without its `__attribute__((...))`.
fn without_attributes(text: &str) -> String {
    let mut parts = text.split("__attribute__");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let mut depth = 0;
        let end = part.find(|c| {
            depth += i32::from(c == '(') - i32::from(c == ')');
            depth == 0 && c == ')'
        });
        plain.push_str(end.map_or("", |end| &part[end + 1..]));
    }
    plain
}

/// The figures of each entry point in the output of `ptxas -v`.
fn resources(report: &str) -> BTreeMap<&str, Resources> {
    let mut all = BTreeMap::new();
    for section in report.split("Compiling entry function '").skip(1) {
        let (name, text) = section.split_once('\'').unwrap_or((section, ""));
        let resources = Resources {
            registers: number_before(text, " registers"),
            shared_bytes: number_before(text, " bytes smem"),
            stack_bytes: number_before(text, " bytes stack frame"),
            spill_bytes: number_before(text, " bytes spill stores")
                + number_before(text, " bytes spill loads"),
        };
        all.insert(name, resources);
    }
    all
}

/// The number in front of `unit`; 0 where the text does not mention it.
fn number_before(text: &str, unit: &str) -> u32 {
    let digits = text.split_once(unit).map_or("", |(before, _)| {
        before.rsplit(|c: char| !c.is_ascii_digit()).next().unwrap_or_default()
    });
    digits.parse().unwrap_or(0)
}

#[cfg(test)]
mod tests;
