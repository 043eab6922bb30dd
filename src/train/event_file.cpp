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

namespace atl::train {
namespace {

constexpr std::array<uint32_t, 256> make_crc_table() {
  constexpr uint32_t kCastagnoliReversed = 0x82f63b78;
  std::array<uint32_t, 256> table{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? kCastagnoliReversed : 0);
    table[byte] = crc;
  }
  return table;
}

uint32_t masked_crc(std::string_view bytes) {
  const uint32_t crc = crc32c(bytes);
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8U;
}

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

uint32_t crc32c(std::string_view bytes) {
  static constexpr auto kTable = make_crc_table();
  uint32_t crc = ~0U;
  for (const char c : bytes)
    crc = kTable[(crc ^ static_cast<unsigned char>(c)) & 0xff] ^ (crc >> 8);
  return ~crc;
}

std::string tfrecord(std::string_view data) {
  const std::string length = little_endian(static_cast<uint64_t>(data.size()));
  std::string bytes = length + little_endian(masked_crc(length));
  bytes += data;
  bytes += little_endian(masked_crc(data));
  return bytes;
}

Result<EventFile> EventFile::open(storage::ObjectStore& store,
                                  double seconds_since_1970,
                                  int64_t first_step) {
  // The name sorts by time, which is how TensorBoard orders the files of a run.
  const auto seconds = static_cast<int64_t>(seconds_since_1970);
  auto log = ATOLL_TRY(
      AppendLog::open(store, fmt::format("events.out.tfevents.{:010}.{}", seconds, host_name())));
  log.add(tfrecord(event_head(0, seconds_since_1970) + bytes_field(3, "brain.Event:2")));
  if (first_step > 0) {
    const std::string start = integer_field(1, 1);
    log.add(tfrecord(event_head(first_step, seconds_since_1970) + bytes_field(7, start)));
  }
  return EventFile(std::move(log));
}

void EventFile::add(int64_t step, double seconds_since_1970, std::span<const Scalar> scalars) {
  std::string summary;
  for (const auto& [name, value] : scalars) {
    summary += bytes_field(1, bytes_field(1, name) + float_field(2, static_cast<float>(value)));
  }
  log_.add(tfrecord(event_head(step, seconds_since_1970) + bytes_field(5, summary)));
}

}  // namespace atl::train
