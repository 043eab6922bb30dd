#include "train/round_results.h"

#include <cstring>
#include <type_traits>

namespace atl::train {
namespace {

class Writer {
 public:
  template <typename T>
  void number(T value) {
    static_assert(std::is_arithmetic_v<T>);
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  template <typename T>
  void list(const std::vector<T>& values) {
    number(static_cast<uint64_t>(values.size()));
    for (const T& value : values) item(value);
  }
  std::string take() { return std::move(bytes_); }

 private:
  void item(uint32_t value) { number(value); }
  void item(const std::string& text) {
    number(static_cast<uint64_t>(text.size()));
    bytes_ += text;
  }
  void item(const eval::Detection& detection) {
    number(detection.image_id);
    number(detection.category_id);
    number(detection.score);
    for (const double side : detection.box) number(side);
    number(detection.mask.height);
    number(detection.mask.width);
    list(detection.mask.counts);
    number(detection.area);
  }
  template <typename T>
  void item(const std::vector<T>& values) {
    list(values);
  }

  std::string bytes_;
};

class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}

  template <typename T>
  void number(T& value) {
    if (bytes_.size() < sizeof value) {
      whole_ = false;
      return;
    }
    std::memcpy(&value, bytes_.data(), sizeof value);
    bytes_.remove_prefix(sizeof value);
  }
  template <typename T>
  void list(std::vector<T>& values) {
    uint64_t count = 0;
    number(count);
    for (uint64_t i = 0; i < count && whole_; ++i) item(values.emplace_back());
  }
  bool whole() const { return whole_ && bytes_.empty(); }

 private:
  void item(uint32_t& value) { number(value); }
  void item(std::string& text) {
    uint64_t size = 0;
    number(size);
    whole_ = whole_ && size <= bytes_.size();
    if (!whole_) return;
    text = bytes_.substr(0, size);
    bytes_.remove_prefix(size);
  }
  void item(eval::Detection& detection) {
    number(detection.image_id);
    number(detection.category_id);
    number(detection.score);
    for (double& side : detection.box) number(side);
    number(detection.mask.height);
    number(detection.mask.width);
    list(detection.mask.counts);
    number(detection.area);
  }
  template <typename T>
  void item(std::vector<T>& values) {
    list(values);
  }

  std::string_view bytes_;
  bool whole_ = true;
};

}  // namespace

std::string to_bytes(const RoundResults& results) {
  Writer writer;
  writer.list(results.batches);
  writer.list(results.bad_images);
  return writer.take();
}

Result<RoundResults> round_results_from_bytes(std::string_view bytes) {
  Reader reader(bytes);
  RoundResults results;
  reader.list(results.batches);
  reader.list(results.bad_images);
  if (!reader.whole())
    return fail(ErrorCode::kCorrupt, "an evaluation's results from another rank");
  return results;
}

}  // namespace atl::train
