#include "train/event_file.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>

#include "train/tensorboard.pb.h"

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

std::string record(const tensorboard::Event& event) { return tfrecord(event.SerializeAsString()); }

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
  tensorboard::Event version;
  version.set_wall_time(seconds_since_1970);
  version.set_file_version("brain.Event:2");
  log.add(record(version));
  if (first_step > 0) {
    tensorboard::Event restart;
    restart.set_wall_time(seconds_since_1970);
    restart.set_step(first_step);
    restart.mutable_session_log()->set_status(tensorboard::SessionLog::START);
    log.add(record(restart));
  }
  return EventFile(std::move(log));
}

void EventFile::add(int64_t step, double seconds_since_1970, std::span<const Scalar> scalars) {
  tensorboard::Event event;
  event.set_wall_time(seconds_since_1970);
  event.set_step(step);
  for (const auto& [tag, value] : scalars) {
    auto* entry = event.mutable_summary()->add_value();
    entry->set_tag(tag);
    entry->set_simple_value(static_cast<float>(value));
  }
  log_.add(record(event));
}

}  // namespace atl::train
