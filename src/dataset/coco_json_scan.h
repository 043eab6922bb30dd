// Reads records of a COCO JSON in one pass over the bytes, for the forms that nearly all have: plain
// keys and strings, numbers, polygons, RLE. Whatever else it meets (escapes, other letters than
// ASCII, keys twice or missing, null, nested extras, anything malformed, the last bytes of the
// text) it leaves to RecordParser. So what it accepts, that accepts with the same values; the tests
// hold the two against each other.
#pragma once

#include <array>
#include <memory>
#include <string_view>
#include <vector>

#include "dataset/coco_builder.h"
#include "dataset/coco_json_dispatch.h"

namespace atl::dataset {

struct ScannedImage {
  int64_t id = 0;
  int64_t width = 0;
  int64_t height = 0;
  std::string_view file_name;  // in the text
};

class RecordScanner {
 public:
  explicit RecordScanner(std::string_view text, const NumberKernel& kernel = best_number_kernel());

  // Each reads the record that begins at byte `at` and returns the byte behind it; 0: not for us.
  size_t image(size_t at, ScannedImage& record);
  // Appends the segmentation to `shapes`; when it fails these are as before.
  size_t annotation(size_t at, PackedAnnotation& record, PackedShapes& shapes);

 private:
  // All read from at_ on and move it; false: not for us.
  template <typename Visit>
  bool object(Visit&& visit);
  bool accept(char wanted);
  void skip_space();
  bool integer(int64_t& value);
  bool real(double& value);
  bool string(std::string_view& value);
  bool skip_scalar();
  bool flag(bool& value);
  bool box(PackedAnnotation& record);
  bool segmentation(PackedAnnotation& record, PackedShapes& shapes);
  bool polygon(PackedShapes& shapes);
  bool polygon_of_doubles(PackedShapes& shapes);
  bool mask(PackedAnnotation& record, PackedShapes& shapes);
  bool runs();
  bool annotation_field(std::string_view key,
                        unsigned& seen,
                        PackedAnnotation& record,
                        PackedShapes& shapes);

  // What the kernel writes.
  struct Numbers {
    std::array<uint16_t, kMaxListNumbers + 64> narrow;
    std::array<int32_t, kMaxListNumbers + 64> wide;
  };

  const char* begin_;
  const char* end_;
  const char* at_ = nullptr;
  ReadHundredths read_hundredths_;
  std::unique_ptr<Numbers> numbers_;
  std::vector<double> doubles_;
  std::vector<uint32_t> runs_;
  std::string unescaped_;
};

}  // namespace atl::dataset
