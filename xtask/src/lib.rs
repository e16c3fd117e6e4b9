//! Chores, as a library for the tests.
