//! Matrix products of many rows.
