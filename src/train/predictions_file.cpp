#include "train/predictions_file.h"

#include <string>

namespace atl::train {

Result<PredictionsFile> PredictionsFile::create() {
  return PredictionsFile(ATOLL_TRY(storage::Spool::create()));
}

// The lists of the images, joined: of each, what stands between the brackets.
Result<void> PredictionsFile::add(std::span<const eval::Detection> records) {
  if (records.empty()) return {};
  const std::string list = eval::results_to_json(records);
  const size_t begin = list.find('{');
  const size_t end = list.rfind('}') + 1;
  ATOLL_TRY(spool_.add(count_ == 0 ? "[\n" : ",\n"));
  count_ += static_cast<int64_t>(records.size());
  return spool_.add(std::string_view(list).substr(begin, end - begin));
}

Result<void> PredictionsFile::write_to(storage::ObjectStore& store, std::string_view key) && {
  ATOLL_TRY(spool_.add(count_ == 0 ? "[\n]\n" : "\n]\n"));
  const storage::Blob blob = ATOLL_TRY(std::move(spool_).finish());
  const auto part = blob.bytes();
  return store.put(key, std::span(&part, 1));
}

}  // namespace atl::train
