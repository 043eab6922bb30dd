// TensorFlow's tf.train.Example in protobuf's wire format, read and written by hand:
// libtorch_cpu.so exports symbols of a protobuf of its own, older than the system's, and two
// versions in one process take each other's functions. From TensorFlow's example.proto and
// feature.proto:
//
//   Example    1 Features
//   Features   1 map { 1 string key, 2 Feature }, repeated
//   Feature    one of 1 BytesList, 2 FloatList, 3 Int64List
//   …List      1 repeated bytes, float or int64; numbers packed or one by one
//
// As protobuf does it: unknown fields are passed over, a message that comes in several pieces is
// joined, the last of the kinds of a feature wins, and so does the last feature of one name.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"

namespace atl::dataset {

// A list of values. Strings are views into the bytes that were parsed.
struct TfFeature {
  enum class Kind : uint8_t { kNone, kBytes, kFloats, kIntegers };
  Kind kind = Kind::kNone;
  std::vector<std::string_view> bytes;
  std::vector<float> floats;
  std::vector<int64_t> integers;

  size_t size() const { return bytes.size() + floats.size() + integers.size(); }
};

class TfExample {
 public:
  // Looks into `data`, which must outlive it. kCorrupt, with the byte, for what is no Example.
  static Result<TfExample> parse(std::span<const std::byte> data);

  // nullptr where there is none of this name.
  const TfFeature* find(std::string_view name) const;
  std::span<const std::pair<std::string_view, TfFeature>> features() const { return features_; }

 private:
  std::vector<std::pair<std::string_view, TfFeature>> features_;  // each name once
};

// Features come out in the order in which they were added; a name twice is the caller's mistake.
class TfExampleWriter {
 public:
  void add_bytes(std::string_view name, std::span<const std::string_view> values);
  void add_floats(std::string_view name, std::span<const float> values);
  void add_integers(std::string_view name, std::span<const int64_t> values);
  void add(std::string_view name, std::string_view value) { add_bytes(name, std::span(&value, 1)); }
  void add(std::string_view name, int64_t value) { add_integers(name, std::span(&value, 1)); }

  // The serialised Example.
  std::string finish() const;

 private:
  void add_feature(std::string_view name, int field_of_kind, std::string_view list);

  std::string features_;
};

}  // namespace atl::dataset
