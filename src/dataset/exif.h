// The orientation out of an EXIF block (TIFF structure, JEITA CP-3451 tag 0x0112).
#pragma once

#include <cstddef>
#include <span>

#include "dataset/image.h"

namespace atl::dataset {

// `tiff` begins at the byte order mark ("II" or "MM"). 1..8; 1 where the tag is missing or the
// block is damaged, because a bad thumbnail block must not cost the picture.
int exif_orientation(std::span<const std::byte> tiff);

// The size after applying the orientation: 5 to 8 swap the sides.
ImageSize oriented_size(ImageSize stored, int orientation);

// Turns and mirrors the picture so that it stands upright.
Picture apply_orientation(const Picture& picture, int orientation);

}  // namespace atl::dataset
