#include "dataset/tfrecord_example.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <optional>

namespace atl::dataset {
namespace {

// The wire types; 3 and 4 open and close the groups of protobuf's first version, which no Example
// has.
enum Wire : uint8_t { kVarint = 0, kFixed64 = 1, kLength = 2, kFixed32 = 5 };

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

float little_endian_float(std::span<const std::byte> bytes) {
  uint32_t bits = 0;
  for (size_t i = 0; i < 4; ++i) bits |= std::to_integer<uint32_t>(bytes[i]) << (8 * i);
  return std::bit_cast<float>(bits);
}

struct Field {
  uint64_t number = 0;
  uint8_t wire = 0;
  uint64_t varint = 0;               // kVarint
  std::span<const std::byte> bytes;  // the others
};

// Walks the fields of one message. `whole` is what offsets in messages count from.
class Fields {
 public:
  Fields(std::span<const std::byte> message, std::span<const std::byte> whole)
      : rest_(message), whole_(whole) {}

  // False at the end.
  Result<bool> next(Field& field) {
    if (rest_.empty()) return false;
    const uint64_t tag = ATOLL_TRY(varint());
    field.number = tag >> 3;
    field.wire = tag & 7;
    if (field.number == 0) return malformed("a field of number 0");
    switch (field.wire) {
      case kVarint:
        field.varint = ATOLL_TRY(varint());
        return true;
      case kFixed64:
        return take(8, field);
      case kFixed32:
        return take(4, field);
      case kLength:
        return take(ATOLL_TRY(varint()), field);
      default:
        return malformed(fmt::format("wire type {}", field.wire));
    }
  }

  bool done() const { return rest_.empty(); }

  Result<uint64_t> varint() {
    uint64_t value = 0;
    for (size_t i = 0; i < 10; ++i) {
      if (i == rest_.size()) return malformed("a number is cut off");
      const auto byte = std::to_integer<uint64_t>(rest_[i]);
      // The tenth byte holds the 64th bit alone.
      if (i == 9 && byte > 1) break;
      value |= (byte & 0x7f) << (7 * i);
      if ((byte & 0x80) == 0) {
        rest_ = rest_.subspan(i + 1);
        return value;
      }
    }
    return malformed("a number of more than 64 bits");
  }

  tl::unexpected<Error> malformed(std::string_view what) const {
    return fail(ErrorCode::kCorrupt,
                fmt::format("no tf.train.Example: {} at byte {} of the record",
                            what,
                            rest_.data() - whole_.data()));
  }

 private:
  Result<bool> take(uint64_t size, Field& field) {
    if (size > rest_.size()) {
      return malformed(fmt::format("{} bytes are announced, {} are there", size, rest_.size()));
    }
    field.bytes = rest_.first(size);
    rest_ = rest_.subspan(size);
    return true;
  }

  std::span<const std::byte> rest_;
  std::span<const std::byte> whole_;
};

// Feature's field numbers are its kinds.
constexpr uint64_t kListValues = 1;

Result<void> add_packed(const Field& field, std::span<const std::byte> whole, TfFeature& feature) {
  Fields packed(field.bytes, whole);
  if (feature.kind == TfFeature::Kind::kIntegers) {
    while (!packed.done()) {
      feature.integers.push_back(static_cast<int64_t>(ATOLL_TRY(packed.varint())));
    }
    return {};
  }
  if (field.bytes.size() % 4 != 0) {
    return packed.malformed(fmt::format("floats of {} bytes in all", field.bytes.size()));
  }
  feature.floats.reserve(feature.floats.size() + field.bytes.size() / 4);
  for (size_t i = 0; i < field.bytes.size(); i += 4) {
    feature.floats.push_back(little_endian_float(field.bytes.subspan(i, 4)));
  }
  return {};
}

// The values of one piece of a list, behind those that are there already.
Result<void> add_list(std::span<const std::byte> list,
                      std::span<const std::byte> whole,
                      TfFeature& feature) {
  Fields fields(list, whole);
  Field field;
  while (ATOLL_TRY(fields.next(field))) {
    if (field.number != kListValues) continue;
    switch (feature.kind) {
      case TfFeature::Kind::kBytes:
        if (field.wire != kLength) return fields.malformed("bytes that are none");
        feature.bytes.push_back(text_of(field.bytes));
        break;
      case TfFeature::Kind::kFloats:
        if (field.wire == kFixed32) {
          feature.floats.push_back(little_endian_float(field.bytes));
        } else if (field.wire == kLength) {
          ATOLL_TRY(add_packed(field, whole, feature));
        } else {
          return fields.malformed("a float that is none");
        }
        break;
      case TfFeature::Kind::kIntegers:
        if (field.wire == kVarint) {
          feature.integers.push_back(static_cast<int64_t>(field.varint));
        } else if (field.wire == kLength) {
          ATOLL_TRY(add_packed(field, whole, feature));
        } else {
          return fields.malformed("an integer that is none");
        }
        break;
      case TfFeature::Kind::kNone:
        break;
    }
  }
  return {};
}

Result<void> add_feature(std::span<const std::byte> message,
                         std::span<const std::byte> whole,
                         TfFeature& feature) {
  Fields fields(message, whole);
  Field field;
  while (ATOLL_TRY(fields.next(field))) {
    if (field.number < 1 || field.number > 3) continue;
    if (field.wire != kLength) return fields.malformed("a list that is none");
    const auto kind = static_cast<TfFeature::Kind>(field.number);
    if (kind != feature.kind) feature = TfFeature{.kind = kind};
    ATOLL_TRY(add_list(field.bytes, whole, feature));
  }
  return {};
}

Result<std::pair<std::string_view, TfFeature>> read_entry(std::span<const std::byte> message,
                                                          std::span<const std::byte> whole) {
  std::pair<std::string_view, TfFeature> entry;
  Fields fields(message, whole);
  Field field;
  while (ATOLL_TRY(fields.next(field))) {
    if (field.number != 1 && field.number != 2) continue;
    if (field.wire != kLength) return fields.malformed("a feature that is none");
    if (field.number == 1) {
      entry.first = text_of(field.bytes);
    } else {
      ATOLL_TRY(add_feature(field.bytes, whole, entry.second));
    }
  }
  return entry;
}

std::string varint(uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes += static_cast<char>((value & 0x7f) | 0x80);
  return bytes + static_cast<char>(value);
}

std::string head(int field, uint64_t size) {
  return varint(static_cast<uint64_t>(field) << 3 | kLength) + varint(size);
}

size_t field_size(uint64_t size) { return head(1, size).size() + size; }

}  // namespace

Result<TfExample> TfExample::parse(std::span<const std::byte> data) {
  TfExample example;
  std::vector<std::pair<std::string_view, TfFeature>> entries;
  Fields outer(data, data);
  Field field;
  while (ATOLL_TRY(outer.next(field))) {
    if (field.number != 1) continue;
    if (field.wire != kLength) return outer.malformed("features that are none");
    Fields inner(field.bytes, data);
    Field entry;
    while (ATOLL_TRY(inner.next(entry))) {
      if (entry.number != 1) continue;
      if (entry.wire != kLength) return inner.malformed("a feature that is none");
      entries.push_back(ATOLL_TRY(read_entry(entry.bytes, data)));
    }
  }
  // Sorted by name; of one name the last stays.
  std::ranges::stable_sort(entries, {}, &std::pair<std::string_view, TfFeature>::first);
  for (auto& entry : entries) {
    if (!example.features_.empty() && example.features_.back().first == entry.first) {
      example.features_.back() = std::move(entry);
    } else {
      example.features_.push_back(std::move(entry));
    }
  }
  return example;
}

const TfFeature* TfExample::find(std::string_view name) const {
  const auto found =
      std::ranges::lower_bound(features_, name, {}, &std::pair<std::string_view, TfFeature>::first);
  return found != features_.end() && found->first == name ? &found->second : nullptr;
}

void TfExampleWriter::add_feature(std::string_view name, int field_of_kind, std::string_view list) {
  const size_t feature_bytes = field_size(list.size());
  features_ += head(1, field_size(name.size()) + field_size(feature_bytes));
  features_ += head(1, name.size());
  features_ += name;
  features_ += head(2, feature_bytes);
  features_ += head(field_of_kind, list.size());
  features_ += list;
}

void TfExampleWriter::add_bytes(std::string_view name, std::span<const std::string_view> values) {
  std::string list;
  size_t size = 0;
  for (const auto value : values) size += field_size(value.size());
  list.reserve(size);
  for (const auto value : values) {
    list += head(1, value.size());
    list += value;
  }
  add_feature(name, 1, list);
}

void TfExampleWriter::add_floats(std::string_view name, std::span<const float> values) {
  std::string list;
  if (!values.empty()) list = head(1, values.size() * 4);
  for (const float value : values) {
    const auto bits = std::bit_cast<uint32_t>(value);
    for (int i = 0; i < 4; ++i) list += static_cast<char>((bits >> (8 * i)) & 0xff);
  }
  add_feature(name, 2, list);
}

void TfExampleWriter::add_integers(std::string_view name, std::span<const int64_t> values) {
  std::string packed;
  for (const int64_t value : values) packed += varint(static_cast<uint64_t>(value));
  add_feature(name, 3, values.empty() ? packed : head(1, packed.size()) + packed);
}

std::string TfExampleWriter::finish() const { return head(1, features_.size()) + features_; }

}  // namespace atl::dataset
