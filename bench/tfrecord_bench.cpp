// Reads TFRecord files from begin to end, checks both checksums of every record, and prints one JSON
// line. `tfrecord_bench make DIR SHARDS RECORDS BYTES` writes files to read.
#include <fmt/format.h>

#include <cstdlib>
#include <string_view>
#include <vector>

#include "base/keyed_random.h"
#include "dataset/tfrecord.h"
#include "dataset/tfrecord_shards.h"
#include "storage/local_store.h"

namespace atl {
namespace {

int give_up(const Error& error) {
  fmt::print(stderr, "tfrecord_bench: {}\n", error.to_string());
  return 1;
}

int make(const char* directory, size_t shards, size_t records, size_t record_bytes) {
  storage::LocalStore store(directory);
  for (size_t shard = 0; shard < shards; ++shard) {
    std::vector<std::byte> file;
    KeyedRandom random({shard});
    for (size_t record = 0; record < records; ++record) {
      std::vector<std::byte> data(record_bytes / 2 + random.below(record_bytes));
      for (std::byte& byte : data) byte = static_cast<std::byte>(random.next());
      dataset::append_tfrecord(file, data);
    }
    const std::span<const std::byte> part(file);
    const auto put = store.put(dataset::shard_name("bench", shard, shards), std::span(&part, 1));
    if (!put) return give_up(put.error());
  }
  return 0;
}

int read(std::span<char*> files) {
  uint64_t records = 0;
  uint64_t bytes = 0;
  for (const char* file : files) {
    const auto location = storage::open_location(file);
    if (!location) return give_up(location.error());
    const auto blob = location->store->get(location->key);
    if (!blob) return give_up(blob.error());
    dataset::TfrecordReader reader(blob->bytes());
    while (true) {
      const auto entry = reader.next();
      if (!entry) return give_up(entry.error());
      if (!*entry) break;
      if (const auto checked = dataset::check_tfrecord_data(**entry); !checked) {
        return give_up(checked.error());
      }
      ++records;
    }
    bytes += blob->size();
  }
  fmt::print("{{\"records\": {}, \"bytes\": {}}}\n", records, bytes);
  return 0;
}

}  // namespace
}  // namespace atl

int main(int argc, char** argv) {
  if (argc == 6 && std::string_view(argv[1]) == "make") {
    return atl::make(argv[2],
                     std::strtoul(argv[3], nullptr, 10),
                     std::strtoul(argv[4], nullptr, 10),
                     std::strtoul(argv[5], nullptr, 10));
  }
  return atl::read(std::span(argv + 1, static_cast<size_t>(argc - 1)));
}
