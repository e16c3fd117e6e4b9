// Parameters of the read probe; twins in src/params/probe.rs.
#pragma once

#include <cstdint>

// One pass over a buffer.
struct ReadProbeParams {
    uint64_t out;          // u32, written when a thread's words sum to SENTINEL
    uint64_t data;         // address of the buffer, a multiple of 16
    uint64_t num_bytes;    // of the buffer
    uint64_t block_bytes;  // that each block reads, a multiple of 16
};
static_assert(sizeof(ReadProbeParams) == 32, "twin of ReadProbeParams in src/params/probe.rs");
