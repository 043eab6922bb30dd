// A small bitmap font for labels on pictures: ASCII 32 to 126, 5x8 pixels a glyph (7 above the
// baseline, one below it), in cells of kCellWidth x kCellHeight.
#pragma once

#include <array>
#include <cstdint>

namespace atl::dataset {

inline constexpr int kGlyphWidth = 5;
inline constexpr int kGlyphHeight = 8;
inline constexpr int kCellWidth = kGlyphWidth + 1;
inline constexpr int kCellHeight = kGlyphHeight + 1;

// Rows from the top; in each, bit 4 is the leftmost pixel. Any other byte gives the '?'.
const std::array<uint8_t, kGlyphHeight>& glyph_of(char character);

}  // namespace atl::dataset
