// The two codecs behind decode_image, each over its C library. Private to this room.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "dataset/image.h"

namespace atl::dataset {

// Format, size and orientation without the codec libraries: markers of a JPEG up to its frame
// header, chunks of a PNG up to its image data.
Result<ImageHeader> read_jpeg_header(std::span<const std::byte> file);
Result<ImageHeader> read_png_header(std::span<const std::byte> file);

// Decode; a codec that finds another size than the header had is an error. Of a JPEG, as much as is
// wanted into the parts of `into` that say what it is; of a PNG, all of it into rgb, which holds
// size.width * size.height * 3 bytes.
Result<void> decode_jpeg(std::span<const std::byte> file,
                         ImageSize size,
                         const WantedPart& wanted,
                         PicturePart& into);
Result<void> decode_png(std::span<const std::byte> file, ImageSize size, std::span<uint8_t> rgb);

}  // namespace atl::dataset
