#include "dataset/tfrecord_pass.h"

#include <fmt/format.h>

#include <atomic>
#include <mutex>
#include <optional>

#include "base/parallel.h"
#include "dataset/image.h"
#include "dataset/tfrecord.h"
#include "dataset/tfrecord_schema.h"

namespace atl::dataset {
namespace {

// Records handed to a thread at a time: one takes about a millisecond.
constexpr size_t kRecordsAtATime = 8;

std::string extension_of(std::string_view encoded) {
  const auto header = read_image_header(std::as_bytes(std::span(encoded)));
  return header && header->format == ImageHeader::Format::kPng ? "png" : "jpg";
}

Result<PassedRecord> read_record(const TfrecordEntry& entry,
                                 uint32_t shard,
                                 const LabelMap* labels) {
  ATOLL_TRY(check_tfrecord_data(entry));
  const TfExample example = ATOLL_TRY(TfExample::parse(entry.data));
  TfrecordImage image = ATOLL_TRY(read_tfrecord_image(example, labels));
  PassedRecord record;
  record.file_name = image.file_name;
  record.source_id = image.source_id;
  record.extension = extension_of(image.encoded);
  record.width = image.width;
  record.height = image.height;
  record.objects = std::move(image.objects);
  record.class_texts.assign(image.class_texts.begin(), image.class_texts.end());
  const auto* begin = reinterpret_cast<const char*>(entry.data.data());
  record.place = {.shard = shard,
                  .offset = entry.offset,
                  .data_bytes = entry.data.size(),
                  .encoded_offset = static_cast<uint64_t>(image.encoded.data() - begin),
                  .encoded_bytes = image.encoded.size()};
  return record;
}

}  // namespace

Result<ShardPass> pass_over_shard(std::span<const std::byte> file,
                                  uint32_t shard,
                                  const LabelMap* labels,
                                  int threads,
                                  const std::function<void(uint64_t)>& progress,
                                  const std::stop_token& stop) {
  ShardPass pass;
  // The chain of lengths first, so that the records can be shared out.
  std::vector<TfrecordEntry> entries;
  TfrecordReader reader(file);
  std::optional<Error> broken;
  while (!broken) {
    auto entry = reader.next();
    if (!entry) {
      broken = entry.error();
    } else if (*entry) {
      entries.push_back(**entry);
    } else {
      break;
    }
  }
  pass.frames = entries.size();
  pass.record_bytes = reader.offset();

  std::vector<std::optional<Result<PassedRecord>>> records(entries.size());
  std::mutex mutex;
  uint64_t done_bytes = 0;
  parallel_for(entries.size(), threads, kRecordsAtATime, [&](size_t begin, size_t end) {
    uint64_t bytes = 0;
    for (size_t i = begin; i < end; ++i) {
      if (stop.stop_requested()) return;
      records[i] = read_record(entries[i], shard, labels);
      bytes += entries[i].data.size();
    }
    const std::lock_guard lock(mutex);
    done_bytes += bytes;
    if (progress) progress(done_bytes);
  });
  if (stop.stop_requested()) return fail(ErrorCode::kCancelled, "stopped");

  for (size_t i = 0; i < entries.size(); ++i) {
    auto& record = *records[i];
    if (record) {
      pass.records.push_back(std::move(*record));
    } else {
      pass.bad_records.push_back(
          fmt::format("the record at byte {}: {}", entries[i].offset, record.error().to_string()));
    }
  }
  if (broken) {
    pass.lost_bytes = reader.lost_bytes();
    pass.bad_records.push_back(fmt::format("at byte {}: {}; the {} bytes from there on are lost",
                                           reader.offset(),
                                           broken->to_string(),
                                           pass.lost_bytes));
  }
  return pass;
}

}  // namespace atl::dataset
