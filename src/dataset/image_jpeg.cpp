// JPEG through libjpeg-turbo's classic interface, which reports errors by not returning. Each call
// into it stands in a small member function that sets the jump's target and holds no object with a
// destructor, so the jump crosses frames of C only.
//
// A decoder is made for each file, not kept: making one takes 0.2 us, and one that is used again
// keeps the tables of the file before, for which a file without tables of its own would then be
// decoded, one way on one thread and another way on another.
#include <csetjmp>
#include <cstddef>
#include <cstdio>
// jpeglib.h uses FILE and size_t without including what declares them, so it comes after.
#include <jpeglib.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "base/check.h"
#include "dataset/exif.h"
#include "dataset/image_codecs.h"

namespace atl::dataset {
namespace {

// A progressive file can hold any number of scans over the same pixels, each as costly as a
// picture; encoders use about ten. (The bound that libjpeg-turbo's own fuzzer uses is 500.)
constexpr int kMaxScans = 500;

// Pixels decoded around a part, so that those at its border are the same as in the whole picture.
constexpr int kMargin = 2;

struct ErrorHandler {
  jpeg_error_mgr base;  // first, so that libjpeg's pointer to it is a pointer to this
  std::jmp_buf escape;
  char message[JMSG_LENGTH_MAX];
};

[[noreturn]] void escape_with_message(j_common_ptr info) {
  auto* handler = reinterpret_cast<ErrorHandler*>(info->err);
  info->err->format_message(info, handler->message);
  std::longjmp(handler->escape, 1);
}

[[noreturn]] void escape_saying(j_common_ptr info, const char* message) {
  auto* handler = reinterpret_cast<ErrorHandler*>(info->err);
  std::snprintf(handler->message, sizeof handler->message, "%s", message);
  std::longjmp(handler->escape, 1);
}

void install(ErrorHandler& handler) {
  jpeg_std_error(&handler.base);
  handler.base.error_exit = escape_with_message;
  handler.base.output_message = [](j_common_ptr) {};  // warnings are not printed
  handler.message[0] = '\0';
}

void limit_scans(j_common_ptr info) {
  if (reinterpret_cast<j_decompress_ptr>(info)->input_scan_number > kMaxScans) {
    escape_saying(info, "too many scans");
  }
}

// libjpeg's own memory source invents an end marker when the data ends, and so decodes a truncated
// file to a grey half. This one escapes.
boolean refuse_to_refill(j_decompress_ptr info) {
  escape_saying(reinterpret_cast<j_common_ptr>(info), "truncated");
}

void skip_input(j_decompress_ptr info, long count) {
  if (count <= 0) return;
  if (static_cast<size_t>(count) > info->src->bytes_in_buffer) refuse_to_refill(info);
  info->src->next_input_byte += count;
  info->src->bytes_in_buffer -= static_cast<size_t>(count);
}

class JpegDecoder {
 public:
  explicit JpegDecoder(std::span<const std::byte> file) {
    install(errors_);
    info_.err = &errors_.base;
    source_.next_input_byte = reinterpret_cast<const JOCTET*>(file.data());
    source_.bytes_in_buffer = file.size();
    source_.init_source = [](j_decompress_ptr) {};
    source_.fill_input_buffer = refuse_to_refill;
    source_.skip_input_data = skip_input;
    source_.resync_to_restart = jpeg_resync_to_restart;
    source_.term_source = [](j_decompress_ptr) {};
    progress_.progress_monitor = limit_scans;
  }
  JpegDecoder(const JpegDecoder&) = delete;
  JpegDecoder& operator=(const JpegDecoder&) = delete;
  ~JpegDecoder() { jpeg_destroy_decompress(&info_); }

  bool read_header() {
    if (setjmp(errors_.escape) != 0) return false;
    jpeg_create_decompress(&info_);
    info_.src = &source_;
    info_.progress = &progress_;
    jpeg_read_header(&info_, TRUE);
    if (info_.num_components != 1 && info_.num_components != 3 && info_.num_components != 4) {
      escape_saying(reinterpret_cast<j_common_ptr>(&info_), "neither grey, colour nor CMYK");
    }
    info_.out_color_space = info_.num_components == 4 ? JCS_CMYK : JCS_RGB;
    return true;
  }

  // From here on, rows hold the columns [*left, *left + *width) of the picture shrunk by `shrink`,
  // perhaps more of them, which is then said.
  bool start(int shrink, int* left, int* width) {
    if (setjmp(errors_.escape) != 0) return false;
    info_.scale_num = 1;
    info_.scale_denom = static_cast<unsigned>(shrink);
    jpeg_start_decompress(&info_);
    auto first = static_cast<JDIMENSION>(*left);
    auto count = static_cast<JDIMENSION>(*width);
    if (count < info_.output_width) jpeg_crop_scanline(&info_, &first, &count);
    *left = static_cast<int>(first);
    *width = static_cast<int>(count);
    return true;
  }

  bool skip_rows(int rows) {
    if (setjmp(errors_.escape) != 0) return false;
    if (rows > 0) jpeg_skip_scanlines(&info_, static_cast<JDIMENSION>(rows));
    return true;
  }
  // 3 bytes a pixel, or 4 for CMYK.
  bool read_rows(uint8_t* out, size_t row_bytes, int rows) {
    if (setjmp(errors_.escape) != 0) return false;
    for (int y = 0; y < rows; ++y) {
      JSAMPROW row = out + static_cast<size_t>(y) * row_bytes;
      jpeg_read_scanlines(&info_, &row, 1);
    }
    return true;
  }

  // As the file has it.
  ImageSize size() const {
    return {static_cast<int>(info_.image_width), static_cast<int>(info_.image_height)};
  }
  bool cmyk() const { return info_.out_color_space == JCS_CMYK; }
  tl::unexpected<Error> error() const {
    return fail(ErrorCode::kInvalidInput, std::string("JPEG: ") + errors_.message);
  }

 private:
  ErrorHandler errors_ = {};
  jpeg_decompress_struct info_ = {};
  jpeg_source_mgr source_ = {};
  jpeg_progress_mgr progress_ = {};
};

// a * b / 255, rounded, for bytes.
constexpr uint8_t multiply(unsigned a, unsigned b) {
  const unsigned product = a * b + 128;
  return static_cast<uint8_t>((product + (product >> 8)) >> 8);
}

// JPEG files store CMYK inverted (Adobe's custom, which Pillow assumes of every file): 255 is no
// ink.
void cmyk_to_rgb(std::span<const uint8_t> cmyk, uint8_t* rgb) {
  for (size_t i = 0; i < cmyk.size(); i += 4, rgb += 3) {
    const unsigned light = cmyk[i + 3];
    for (size_t c = 0; c < 3; ++c) {
      rgb[c] = static_cast<uint8_t>(light - multiply(255U - cmyk[i + c], light));
    }
  }
}

class JpegEncoder {
 public:
  JpegEncoder() {
    install(errors_);
    info_.err = &errors_.base;
  }
  JpegEncoder(const JpegEncoder&) = delete;
  JpegEncoder& operator=(const JpegEncoder&) = delete;
  ~JpegEncoder() {
    jpeg_destroy_compress(&info_);
    std::free(buffer_);  // NOLINT(cppcoreguidelines-no-malloc): libjpeg allocated it
  }

  bool encode(const Picture& picture, int quality, std::string_view comment) {
    if (setjmp(errors_.escape) != 0) return false;
    jpeg_create_compress(&info_);
    jpeg_mem_dest(&info_, &buffer_, &size_bytes_);
    info_.image_width = static_cast<JDIMENSION>(picture.width);
    info_.image_height = static_cast<JDIMENSION>(picture.height);
    info_.input_components = 3;
    info_.in_color_space = JCS_RGB;
    jpeg_set_defaults(&info_);
    jpeg_set_quality(&info_, quality, TRUE);
    jpeg_start_compress(&info_, TRUE);
    if (!comment.empty()) {
      jpeg_write_marker(&info_,
                        JPEG_COM,
                        reinterpret_cast<const JOCTET*>(comment.data()),
                        static_cast<unsigned>(comment.size()));
    }
    while (info_.next_scanline < info_.image_height) {
      // libjpeg's rows are not const, but a compressor only reads them.
      JSAMPROW row = const_cast<JSAMPROW>(picture.rgb.data()) +
                     static_cast<size_t>(info_.next_scanline) * info_.image_width * 3;
      jpeg_write_scanlines(&info_, &row, 1);
    }
    jpeg_finish_compress(&info_);
    return true;
  }

  std::span<const std::byte> bytes() const {
    return std::as_bytes(std::span(buffer_, size_bytes_));
  }
  std::string message() const { return errors_.message; }

 private:
  ErrorHandler errors_ = {};
  jpeg_compress_struct info_ = {};
  unsigned char* buffer_ = nullptr;
  unsigned long size_bytes_ = 0;
};

constexpr char kExifName[] = {'E', 'x', 'i', 'f', '\0', '\0'};  // the TIFF structure follows

std::span<const std::byte> exif_block(std::span<const std::byte> segment) {
  if (segment.size() < sizeof kExifName ||
      std::memcmp(segment.data(), kExifName, sizeof kExifName) != 0) {
    return {};
  }
  return segment.subspan(sizeof kExifName);
}

// Frame headers: SOF0 to SOF15, without DHT (c4), JPG (c8) and DAC (cc), which share the range.
bool is_frame_header(unsigned marker) {
  return marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc;
}

}  // namespace

Result<ImageHeader> read_jpeg_header(std::span<const std::byte> file) {
  const auto byte = [&](size_t at) { return std::to_integer<unsigned>(file[at]); };
  ImageHeader header{ImageHeader::Format::kJpeg, {}, 1};
  bool have_exif = false;
  size_t at = 2;
  while (true) {
    // Padding between segments is any number of ff; libjpeg passes over other bytes, too.
    while (at < file.size() && byte(at) != 0xff) ++at;
    while (at < file.size() && byte(at) == 0xff) ++at;
    if (file.size() < at + 3) return fail(ErrorCode::kInvalidInput, "JPEG: truncated");
    const unsigned marker = byte(at++);
    const bool standalone = marker <= 0x01 || (marker >= 0xd0 && marker <= 0xd8);
    if (standalone) continue;
    if (marker == 0xd9 || marker == 0xda) {
      return fail(ErrorCode::kInvalidInput, "JPEG: no frame header before the image data");
    }
    const size_t length = byte(at) << 8 | byte(at + 1);
    if (length < 2) return fail(ErrorCode::kInvalidInput, "JPEG: a segment of impossible length");
    if (file.size() - at < length) return fail(ErrorCode::kInvalidInput, "JPEG: truncated");
    const auto segment = file.subspan(at + 2, length - 2);
    if (is_frame_header(marker)) {
      if (segment.size() < 6) return fail(ErrorCode::kInvalidInput, "JPEG: a short frame header");
      header.stored.height = static_cast<int>(byte(at + 3) << 8 | byte(at + 4));
      header.stored.width = static_cast<int>(byte(at + 5) << 8 | byte(at + 6));
      return header;
    }
    if (marker == 0xe1 && !have_exif) {
      if (const auto exif = exif_block(segment); !exif.empty()) {
        header.exif_orientation = exif_orientation(exif);
        have_exif = true;
      }
    }
    at += length;
  }
}

Result<void> decode_jpeg(std::span<const std::byte> file,
                         ImageSize size,
                         const WantedPart& wanted,
                         PicturePart& into) {
  JpegDecoder decoder(file);
  if (!decoder.read_header()) return decoder.error();
  if (decoder.size() != size) {
    return fail(ErrorCode::kInvalidInput, "JPEG: the frame header is not the first one");
  }
  const ImageSize shrunk = shrunk_size(size, wanted.shrink);
  ImageRect part = wanted.part;
  if (part.width <= 0 || part.height <= 0) part = {0, 0, shrunk.width, shrunk.height};
  ATOLL_CHECK(part.left >= 0 && part.top >= 0 && part.left + part.width <= shrunk.width &&
              part.top + part.height <= shrunk.height)
      << part.width << "x" << part.height << " at " << part.left << "," << part.top << " of "
      << shrunk.width << "x" << shrunk.height;
  // The outermost pixels of what is decoded lack a neighbour where colours are interpolated.
  const int right = std::min(part.left + part.width + kMargin, shrunk.width);
  into.left = std::max(part.left - kMargin, 0);
  into.top = std::max(part.top - kMargin, 0);
  into.picture.width = right - into.left;
  into.picture.height = part.top + part.height - into.top;
  into.shrink = wanted.shrink;
  if (!decoder.start(wanted.shrink, &into.left, &into.picture.width)) return decoder.error();
  const auto pixels =
      static_cast<size_t>(into.picture.width) * static_cast<size_t>(into.picture.height);
  const auto row_pixels = static_cast<size_t>(into.picture.width);
  into.picture.rgb.resize(pixels * 3);
  if (!decoder.skip_rows(into.top)) return decoder.error();
  if (!decoder.cmyk()) {
    if (!decoder.read_rows(into.picture.rgb.data(), row_pixels * 3, into.picture.height)) {
      return decoder.error();
    }
    return {};
  }
  std::vector<uint8_t> cmyk(row_pixels * 4);
  for (int y = 0; y < into.picture.height; ++y) {
    if (!decoder.read_rows(cmyk.data(), cmyk.size(), 1)) return decoder.error();
    cmyk_to_rgb(cmyk, into.picture.rgb.data() + static_cast<size_t>(y) * row_pixels * 3);
  }
  return {};
}

Result<std::vector<std::byte>> encode_jpeg(const Picture& picture,
                                           int quality,
                                           std::string_view comment) {
  JpegEncoder encoder;
  if (!encoder.encode(picture, quality, comment)) {
    return fail(ErrorCode::kInvalidInput, "writing a JPEG: " + encoder.message());
  }
  return std::vector<std::byte>(encoder.bytes().begin(), encoder.bytes().end());
}

}  // namespace atl::dataset
