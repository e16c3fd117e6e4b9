// Parameters of the copy of words; twins in src/params/copy.rs.
#pragma once

#include <cstdint>

// A copy of consecutive 32-bit words.
struct CopyWordsParams {
    uint64_t out;        // address of the first, a multiple of 4
    uint64_t src;        // address of the first, a multiple of 4
    uint32_t num_words;
    uint32_t reserved;   // 0
};
static_assert(sizeof(CopyWordsParams) == 24, "twin of CopyWordsParams in src/params/copy.rs");
