//! Runs NVIDIA PTX on the CPU and checks every access.
