#include "dataset/tfrecord_convert.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/parallel.h"
#include "dataset/coco_builder.h"
#include "dataset/image.h"
#include "dataset/tfrecord.h"
#include "dataset/tfrecord_labels.h"
#include "dataset/tfrecord_manifest.h"
#include "dataset/tfrecord_schema.h"
#include "dataset/tfrecord_shards.h"

namespace atl::dataset {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kLabelMapKey = "label_map.pbtxt";
constexpr int kManifestVersion = 1;
constexpr size_t kListedImages = 20;

// Counts images and keeps the first failure, for threads.
class Progress {
 public:
  Progress(const ConvertOptions& options, int64_t total) : options_(options), total_(total) {}

  void add(int64_t images) {
    const std::lock_guard lock(mutex_);
    done_ += images;
    if (options_.progress) options_.progress(done_, total_);
  }
  void note(Error error) {
    const std::lock_guard lock(mutex_);
    if (!failure_) failure_ = std::move(error);
    failed_ = true;
  }
  bool ended() const { return failed_ || options_.stop.stop_requested(); }
  Result<void> result() const {
    if (failure_) return tl::unexpected(*failure_);
    if (options_.stop.stop_requested()) {
      return fail(ErrorCode::kCancelled,
                  "stopped; what is finished stays, and the same command goes on from there");
    }
    return {};
  }

 private:
  const ConvertOptions& options_;
  const int64_t total_;
  std::mutex mutex_;
  int64_t done_ = 0;
  std::atomic<bool> failed_ = false;
  std::optional<Error> failure_;
};

Result<void> put(storage::ObjectStore& store,
                 std::string_view key,
                 std::span<const std::byte> bytes) {
  return store.put(key, std::span(&bytes, 1));
}

// nullopt where it is not there.
Result<std::optional<storage::Blob>> get_if_there(storage::ObjectStore& store,
                                                  std::string_view key) {
  auto found = store.get(key);
  if (found) return *found;
  if (found.error().code == ErrorCode::kNotFound) return std::nullopt;
  return tl::unexpected(found.error());
}

bool same_bytes(std::span<const std::byte> a, std::span<const std::byte> b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size()) == 0);
}

tl::unexpected<Error> in_the_way(const storage::ObjectStore& store, std::string_view key) {
  return fail(ErrorCode::kInvalidInput,
              fmt::format("{}/{} is there already and is something else", store.uri(), key),
              "name another directory, or replace it with --overwrite");
}

// True: it was there with these bytes.
Result<bool> write_file(storage::ObjectStore& store,
                        std::string_view key,
                        std::span<const std::byte> bytes,
                        bool overwrite) {
  const auto there = ATOLL_TRY(get_if_there(store, key));
  if (there && same_bytes(there->bytes(), bytes)) return true;
  if (there && !overwrite) return in_the_way(store, key);
  ATOLL_TRY(put(store, key, bytes));
  return false;
}

class Exporter {
 public:
  Exporter(const CocoDataset& dataset,
           storage::ObjectStore& pictures,
           std::string_view image_prefix,
           storage::ObjectStore& out,
           const ShardedTarget& target,
           const ConvertOptions& options)
      : dataset_(dataset),
        pictures_(pictures),
        image_prefix_(image_prefix),
        out_(out),
        target_(target),
        options_(options),
        manifest_key_(target.name + ".manifest.jsonl"),
        progress_(options, static_cast<int64_t>(dataset.images().size())) {
    const auto images = static_cast<int64_t>(dataset.images().size());
    const int64_t wanted =
        target.shards > 0 ? target.shards : (images + kImagesPerShard - 1) / kImagesPerShard;
    // A shard without an image is no use to anyone.
    shard_count_ =
        static_cast<size_t>(std::clamp<int64_t>(wanted, 1, std::max<int64_t>(images, 1)));
  }

  Result<ConvertResult> run() {
    ATOLL_TRY(prepare());
    parallel_for(shard_count_, options_.threads, 1, [&](size_t begin, size_t end) {
      for (size_t shard = begin; shard < end && !progress_.ended(); ++shard) {
        if (auto done = convert(shard); !done) progress_.note(std::move(done).error());
      }
    });
    ATOLL_TRY(progress_.result());
    for (auto& [shard, entry] : finished_) {
      result_.images += entry.images;
      std::ranges::move(entry.bad_images, std::back_inserter(result_.bad_images));
    }
    result_.files = static_cast<int64_t>(shard_count_);
    return std::move(result_);
  }

 private:
  std::string name_of(size_t shard) const { return shard_name(target_.name, shard, shard_count_); }
  std::pair<size_t, size_t> images_of(size_t shard) const {
    const size_t images = dataset_.images().size();
    return {shard * images / shard_count_, (shard + 1) * images / shard_count_};
  }

  // The manifest's first line: what makes a shard of one conversion one of another.
  std::string header() const {
    const Json json = {{"atoll_tfrecords", kManifestVersion},
                       {"name", target_.name},
                       {"shards", shard_count_},
                       {"images", dataset_.images().size()},
                       {"image_prefix", image_prefix_},
                       {"source", target_.fingerprint}};
    return json.dump(-1, ' ', false, Json::error_handler_t::replace);
  }

  Result<void> prepare() {
    const auto manifest = ATOLL_TRY(get_if_there(out_, manifest_key_));
    const std::string first_line = header() + "\n";
    const bool ours = manifest && manifest->text().starts_with(first_line);
    if (!ours) ATOLL_TRY(clear_the_way());
    const std::string labels = label_map_text(dataset_.categories());
    ATOLL_TRY(write_file(out_, kLabelMapKey, std::as_bytes(std::span(labels)), options_.overwrite));
    if (!ours) return storage::put_text(out_, manifest_key_, first_line);
    recorded_ = read_manifest(manifest->text().substr(first_line.size()));
    return {};
  }

  // Shards of the same name that an unknown hand, or another conversion, has made.
  Result<void> clear_the_way() {
    const std::string group = parse_shard_name(name_of(0)).group();
    std::vector<std::string> others;
    ATOLL_TRY(out_.list(target_.name, [&](const storage::ObjectInfo& info) {
      if (parse_shard_name(info.key).group() == group) others.push_back(info.key);
      return true;
    }));
    if (others.empty()) return {};
    if (!options_.overwrite) return in_the_way(out_, others.front());
    for (const std::string& key : others) ATOLL_TRY(out_.remove(key));
    return {};
  }

  Result<void> convert(size_t shard) {
    const auto [begin, end] = images_of(shard);
    // A shard that left pictures out is made again: they may have been repaired.
    const auto recorded = recorded_.find(name_of(shard));
    if (recorded != recorded_.end() && recorded->second.bad_images.empty() &&
        ATOLL_TRY(is_whole(recorded->first, recorded->second))) {
      progress_.add(static_cast<int64_t>(end - begin));
      const std::lock_guard lock(mutex_);
      ++result_.kept_files;
      return finish(shard, recorded->second);
    }
    return write(shard);
  }

  Result<bool> is_whole(const std::string& key, const ShardEntry& entry) {
    const auto there = ATOLL_TRY(get_if_there(out_, key));
    return there && there->size() == entry.size_bytes && crc32c(there->bytes()) == entry.crc;
  }

  Result<void> write(size_t shard) {
    const auto [begin, end] = images_of(shard);
    ShardEntry entry;
    std::vector<std::byte> file;
    for (size_t i = begin; i < end; ++i) {
      if (progress_.ended()) return {};
      const auto record = record_of(i);
      if (record) {
        append_tfrecord(file, std::as_bytes(std::span(*record)));
        ++entry.images;
      } else if (is_bad_image(record.error())) {
        entry.bad_images.push_back(record.error().to_string());
      } else {
        return tl::unexpected(record.error());
      }
      progress_.add(1);
    }
    entry.size_bytes = file.size();
    entry.crc = crc32c(std::span<const std::byte>(file));
    ATOLL_TRY(put(out_, name_of(shard), file));
    const std::string text = manifest_line(name_of(shard), entry);
    ATOLL_TRY(out_.append(manifest_key_, std::as_bytes(std::span(text))));
    const std::lock_guard lock(mutex_);
    return finish(shard, std::move(entry));
  }

  Result<std::string> record_of(size_t index) {
    const Image& image = dataset_.images()[index];
    const std::string key = fmt::format("{}{}", image_prefix_, image.file_name);
    const auto picture = ATOLL_TRY_CONTEXT(pictures_.get(key), key);
    const auto header = ATOLL_TRY_CONTEXT(read_image_header(picture.bytes()), key);
    const ImageSize stored = header.stored;
    const bool as_stored = stored.width == image.width && stored.height == image.height;
    const bool turned = header.exif_orientation >= 5 && stored.width == image.height &&
                        stored.height == image.width;
    if (!as_stored && !turned) {
      return fail(ErrorCode::kInvalidInput,
                  fmt::format("{}: the file is {} x {}, the JSON has {} x {}",
                              key,
                              stored.width,
                              stored.height,
                              image.width,
                              image.height));
    }
    return tfrecord_of_image(dataset_, index, picture.bytes());
  }

  // With the mutex held.
  Result<void> finish(size_t shard, ShardEntry entry) {
    bad_count_ += static_cast<int64_t>(entry.bad_images.size());
    finished_[shard] = std::move(entry);
    if (bad_count_ <= options_.max_bad_images) return {};
    std::vector<std::string> bad;
    for (const auto& [number, done] : finished_) {
      bad.insert(bad.end(), done.bad_images.begin(), done.bad_images.end());
    }
    const size_t shown = std::min(bad.size(), kListedImages);
    return fail(ErrorCode::kInvalidInput,
                fmt::format("{}, {} allowed: {}{}",
                            format_count(bad.size(), "unreadable image"),
                            options_.max_bad_images,
                            fmt::join(std::span(bad).first(shown), "; "),
                            shown < bad.size() ? "; …" : ""),
                "repair them, or leave them out with --max-bad-images");
  }

  const CocoDataset& dataset_;
  storage::ObjectStore& pictures_;
  const std::string image_prefix_;
  storage::ObjectStore& out_;
  const ShardedTarget& target_;
  const ConvertOptions& options_;
  const std::string manifest_key_;
  size_t shard_count_ = 1;
  FinishedShards recorded_;
  Progress progress_;
  std::mutex mutex_;  // guards what follows
  std::map<size_t, ShardEntry> finished_;
  int64_t bad_count_ = 0;
  ConvertResult result_;
};

}  // namespace

Result<ConvertResult> coco_to_tfrecords(const CocoDataset& dataset,
                                        storage::ObjectStore& pictures,
                                        std::string_view image_prefix,
                                        storage::ObjectStore& out,
                                        const ShardedTarget& target,
                                        const ConvertOptions& options) {
  return Exporter(dataset, pictures, image_prefix, out, target, options).run();
}

Result<ConvertResult> tfrecords_to_coco(const TfrecordDataset& records,
                                        storage::ObjectStore& out,
                                        std::string_view annotations_key,
                                        std::string_view image_prefix,
                                        const ConvertOptions& options) {
  const std::string json = to_json(records.dataset);
  const auto json_bytes = std::as_bytes(std::span(json));
  // Before an hour's work rather than behind it.
  const auto there = ATOLL_TRY(get_if_there(out, annotations_key));
  if (there && !options.overwrite && !same_bytes(there->bytes(), json_bytes)) {
    return in_the_way(out, annotations_key);
  }
  const auto images = records.dataset.images();
  Progress progress(options, static_cast<int64_t>(images.size()));
  std::atomic<int64_t> kept = 0;
  const auto copy = [&](const Image& image) -> Result<void> {
    const auto picture = ATOLL_TRY(records.store->get(image.file_name));
    const std::string key = fmt::format("{}{}", image_prefix, image.file_name);
    if (ATOLL_TRY(write_file(out, key, picture.bytes(), options.overwrite))) ++kept;
    return {};
  };
  parallel_for(images.size(), options.threads, 1, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end && !progress.ended(); ++i) {
      if (auto copied = copy(images[i]); !copied) progress.note(std::move(copied).error());
      progress.add(1);
    }
  });
  ATOLL_TRY(progress.result());
  ATOLL_TRY(put(out, annotations_key, json_bytes));
  return ConvertResult{.images = static_cast<int64_t>(images.size()),
                       .files = static_cast<int64_t>(images.size()),
                       .kept_files = kept,
                       .bad_images = records.bad_records};
}

}  // namespace atl::dataset
