//! Matrix products of up to 16 rows, and the repacking of weights.
