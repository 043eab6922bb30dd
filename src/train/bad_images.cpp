// A line holds the image's key, ended by ": " or by the line, and may begin with the store's own
// words: "train2017/17.jpg: truncated JPEG", "reading /data/train2017/17.jpg: No such file". Keys
// may hold ": " themselves, so all places are tried and the longest key that is one counts.
#include "train/bad_images.h"

#include <algorithm>
#include <optional>
#include <set>
#include <string_view>
#include <unordered_map>

namespace atl::train {
namespace {

using ImagesByKey = std::unordered_map<std::string, int64_t>;

ImagesByKey images_by_key(const Split& split) {
  ImagesByKey images;
  for (const int64_t index : split.images) {
    const auto& image = split.dataset.images()[static_cast<size_t>(index)];
    images.emplace(split.image_prefix + std::string(image.file_name), index);
  }
  return images;
}

std::optional<int64_t> image_of(std::string_view line,
                                std::string_view prefix,
                                const ImagesByKey& images) {
  std::optional<int64_t> found;
  size_t length = 0;
  for (size_t begin = line.find(prefix); begin != line.npos; begin = line.find(prefix, begin + 1)) {
    for (size_t end = begin; end < line.size();) {
      end = std::min(line.find(": ", end + 1), line.size());
      const auto image = images.find(std::string(line.substr(begin, end - begin)));
      if (image == images.end() || end - begin <= length) continue;
      found = image->second;
      length = end - begin;
    }
  }
  return found;
}

}  // namespace

Result<std::vector<dataset::BadImage>> still_bad_images(const std::vector<std::string>& lines,
                                                        const Split& split,
                                                        dataset::LoaderOptions options) {
  if (lines.empty()) return std::vector<dataset::BadImage>();
  std::set<int64_t> indices;
  {
    const ImagesByKey images = images_by_key(split);
    for (const auto& line : lines) {
      if (const auto image = image_of(line, split.image_prefix, images)) indices.insert(*image);
    }
  }
  const std::vector<int64_t> again(indices.begin(), indices.end());
  options.max_bad_images = static_cast<int64_t>(again.size());
  // A bucket's listing may be older than the repair.
  for (const int64_t index : again) {
    const auto& image = split.dataset.images()[static_cast<size_t>(index)];
    (void)split.store->head(split.image_prefix + std::string(image.file_name));
  }
  dataset::Loader loader(
      split.dataset,
      *split.store,
      split.image_prefix,
      options,
      [&](int64_t step) -> std::optional<std::vector<int64_t>> {
        if (step >= static_cast<int64_t>(again.size())) return std::nullopt;
        return std::vector<int64_t>{again[static_cast<size_t>(step)]};
      },
      [](int64_t) { return int64_t{0}; });
  while (ATOLL_TRY(loader.next())) {
  }
  return loader.bad_images();
}

}  // namespace atl::train
