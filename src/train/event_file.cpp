// The three messages that scalars need, in protobuf's wire format, written out by hand:
// libtorch_cpu.so exports symbols of a protobuf of its own, older than the system's, and two
// versions in one process take each other's functions. Field numbers from TensorFlow's event.proto
// and summary.proto:
//
//   Event       1 double wall_time, 2 int64 step, 3 string file_version, 5 Summary, 7 SessionLog
//   Summary     1 repeated Value { 1 string tag, 2 float simple_value }
//   SessionLog  1 enum status (1 = START)
#include "train/event_file.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <bit>

#include "dataset/tfrecord.h"

namespace atl::train {
namespace {

template <typename T>
std::string little_endian(T value) {
  std::string bytes;
  for (size_t i = 0; i < sizeof value; ++i) {
    bytes += static_cast<char>((static_cast<uint64_t>(value) >> (8 * i)) & 0xff);
  }
  return bytes;
}

std::string host_name() {
  std::array<char, 256> name{};
  if (gethostname(name.data(), name.size() - 1) != 0 || name[0] == 0) return "localhost";
  return name.data();
}

enum class WireType : uint8_t { kVarint = 0, k64Bit = 1, kBytes = 2, k32Bit = 5 };

std::string varint(uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes += static_cast<char>((value & 0x7f) | 0x80);
  return bytes + static_cast<char>(value);
}

std::string tag(int field, WireType type) {
  return varint(static_cast<uint64_t>(field) << 3 | static_cast<uint64_t>(type));
}

std::string integer_field(int field, int64_t value) {
  return tag(field, WireType::kVarint) + varint(static_cast<uint64_t>(value));
}
std::string double_field(int field, double value) {
  return tag(field, WireType::k64Bit) + little_endian(std::bit_cast<uint64_t>(value));
}
std::string float_field(int field, float value) {
  return tag(field, WireType::k32Bit) + little_endian(std::bit_cast<uint32_t>(value));
}
std::string bytes_field(int field, std::string_view value) {
  return tag(field, WireType::kBytes) + varint(value.size()) + std::string(value);
}

std::string event_head(int64_t step, double seconds_since_1970) {
  return double_field(1, seconds_since_1970) + integer_field(2, step);
}

}  // namespace

Result<EventFile> EventFile::open(storage::ObjectStore& store,
                                  double seconds_since_1970,
                                  int64_t first_step) {
  // The name sorts by time, which is how TensorBoard orders the files of a run.
  const auto seconds = static_cast<int64_t>(seconds_since_1970);
  auto log = ATOLL_TRY(
      AppendLog::open(store, fmt::format("events.out.tfevents.{:010}.{}", seconds, host_name())));
  log.add(
      dataset::frame_tfrecord(event_head(0, seconds_since_1970) + bytes_field(3, "brain.Event:2")));
  if (first_step > 0) {
    const std::string start = integer_field(1, 1);
    log.add(dataset::frame_tfrecord(event_head(first_step, seconds_since_1970) +
                                    bytes_field(7, start)));
  }
  return EventFile(std::move(log));
}

void EventFile::add(int64_t step, double seconds_since_1970, std::span<const Scalar> scalars) {
  std::string summary;
  for (const auto& [name, value] : scalars) {
    summary += bytes_field(1, bytes_field(1, name) + float_field(2, static_cast<float>(value)));
  }
  log_.add(dataset::frame_tfrecord(event_head(step, seconds_since_1970) + bytes_field(5, summary)));
}

}  // namespace atl::train
