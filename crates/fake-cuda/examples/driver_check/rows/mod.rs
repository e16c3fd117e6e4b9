//! The rows, by area.

mod capture;
mod copies;
mod escapes;
mod faults;
mod graphs;
mod launches;
mod memory;
mod modules;
mod outside;

use crate::row::Row;

/// Every row, with a heading for each area.
pub(crate) const AREAS: &[(&str, &[Row])] = &[
    ("Calls that a capture forbids", capture::ROWS),
    ("What a capture takes along, and what escapes it", escapes::ROWS),
    ("Captures from the outside", outside::ROWS),
    ("Memory", memory::ROWS),
    ("Copies", copies::ROWS),
    ("Launches", launches::ROWS),
    ("Modules", modules::ROWS),
    ("Graphs", graphs::ROWS),
    ("Faults", faults::ROWS),
];
