#include "dataset/tfrecord_dataset.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <numeric>
#include <optional>
#include <unordered_set>

#include "base/bytes.h"
#include "dataset/tfrecord_index.h"
#include "dataset/tfrecord_pass.h"
#include "dataset/tfrecord_shards.h"
#include "dataset/tfrecord_store.h"
#include "storage/key.h"

namespace atl::dataset {
namespace {

constexpr std::string_view kLabelMapKey = "label_map.pbtxt";
constexpr size_t kListedNames = 10;
constexpr size_t kListedBadRecords = 20;

std::string listed(const std::vector<std::string>& names, std::string_view separator) {
  const auto first = std::span(names).first(std::min(names.size(), kListedBadRecords));
  std::string text = fmt::format("{}", fmt::join(first, separator));
  if (names.size() > first.size()) {
    text += fmt::format("{}and {} more", separator, names.size() - first.size());
  }
  return text;
}

std::optional<int64_t> whole_number(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

class Opener {
 public:
  Opener(std::unique_ptr<storage::ObjectStore> files, const TfrecordOptions& options)
      : files_(std::move(files)), options_(options) {}

  Result<TfrecordDataset> open(const std::string& pattern) {
    PatternMeans means = options_.only_named ? PatternMeans::kThese : PatternMeans::kDataset;
    if (!options_.pattern.empty()) means = PatternMeans::kSplit;
    shards_ = ATOLL_TRY(find_tfrecord_shards(
        *files_, options_.pattern.empty() ? pattern : options_.pattern, options_.split, means));
    result_.pattern = shards_.pattern;
    result_.serves_as_both = !shards_.note.empty();
    if (result_.serves_as_both) result_.notes.push_back(shards_.note);
    note_missing_shards();
    ATOLL_TRY(read_label_map(folder_of_pattern(options_.pattern)));
    OpenedIndex opened = ATOLL_TRY(index_or_pass(pattern, means));
    auto& [table, findings] = *opened.records;
    for (const std::string& note : findings.notes) {
      result_.notes.push_back(fmt::format("{}: {}", files_->uri(), note));
    }
    result_.bad_records = std::move(findings.bad_records);
    result_.bad_record_count = findings.bad_record_count;
    result_.dataset = std::move(opened.dataset);
    result_.store = std::make_unique<TfrecordStore>(
        std::move(files_), std::move(shards_.shards), result_.dataset, std::move(table));
    return std::move(result_);
  }

 private:
  bool is_within_limit(const OpenedIndex& opened) const {
    return opened.records->findings.bad_record_count <= options_.max_bad_records;
  }

  Result<OpenedIndex> index_or_pass(const std::string& pattern, PatternMeans means) {
    const IndexSource source = tfrecord_source(*files_, shards_, label_map_);
    if (options_.cache_folder.empty() || source.size_bytes < options_.index_from_bytes) {
      return read_all();
    }
    TfrecordIndex index(options_.cache_folder, *files_, shards_, source);
    if (auto found = index.open(); found && is_within_limit(*found)) return std::move(*found);
    const auto lock = ATOLL_TRY(index.lock(options_.stop, [&] {
      if (!options_.note) return;
      options_.note(fmt::format("{}: waiting for another process that reads the records of {}",
                                files_->uri(),
                                shards_.pattern));
    }));
    if (auto found = index.open(); found && is_within_limit(*found)) return std::move(*found);
    OpenedIndex read = ATOLL_TRY(read_all());
    // Files that change while they are read give an index that belongs to neither.
    const auto again = find_tfrecord_shards(
        *files_, options_.pattern.empty() ? pattern : options_.pattern, options_.split, means);
    if (!again || tfrecord_source(*files_, *again, label_map_) != source) return read;
    if (const auto written = index.write(read.dataset, *read.records); !written) {
      if (options_.note) options_.note(written.error().to_string());
      return read;
    }
    auto mapped = index.open();
    return mapped ? std::move(*mapped) : std::move(read);
  }

  Result<OpenedIndex> read_all() {
    ATOLL_TRY(pass());
    choose_ids();
    return build();
  }

  void note_missing_shards() {
    if (shards_.missing.empty()) return;
    result_.missing_shards = shards_.missing;
    const size_t all = shards_.missing.size() + shards_.shards.size();
    const auto shown =
        std::span(shards_.missing).first(std::min(shards_.missing.size(), kListedNames));
    result_.notes.push_back(
        fmt::format("{}: {} of {} shards are missing and their images with "
                    "them: {}{}",
                    files_->uri(),
                    shards_.missing.size(),
                    all,
                    fmt::join(shown, ", "),
                    shown.size() < shards_.missing.size() ? ", …" : ""));
  }

  // Beside the records.
  Result<void> read_label_map(const std::string& folder) {
    std::vector<std::string> keys;
    ATOLL_TRY(files_->list(folder, [&](const storage::ObjectInfo& info) {
      const std::string_view name = std::string_view(info.key).substr(folder.size());
      // Not TensorFlow's graph.pbtxt, which lies about in such directories, too.
      if (matches_wildcards("*label*.pbtxt", name) && name.find('/') == std::string_view::npos) {
        keys.push_back(info.key);
      }
      return true;
    }));
    if (keys.empty()) return {};
    const auto usual = std::ranges::find(keys, folder + std::string(kLabelMapKey));
    if (usual == keys.end() && keys.size() > 1) {
      result_.notes.push_back(fmt::format("{}: none of {} is called {}, so none is used",
                                          files_->uri(),
                                          fmt::join(keys, ", "),
                                          kLabelMapKey));
      return {};
    }
    const std::string& key = usual == keys.end() ? keys.front() : *usual;
    const auto text = ATOLL_TRY(files_->get(key));
    label_map_ = fmt::format("label map\n{}", text.text());
    labels_ =
        ATOLL_TRY_CONTEXT(LabelMap::parse(text.text()), fmt::format("{}/{}", files_->uri(), key));
    result_.categories_are_listed = true;
    return {};
  }

  Result<void> pass() {
    uint64_t total_bytes = 0;
    for (const auto& shard : shards_.shards) total_bytes += shard.size_bytes;
    uint64_t done_bytes = 0;
    uint64_t lost_bytes = 0;
    uint64_t frames = 0;
    uint64_t frame_bytes = 0;
    for (size_t i = 0; i < shards_.shards.size(); ++i) {
      const storage::ObjectInfo& shard = shards_.shards[i];
      const auto progress = [&](uint64_t bytes) {
        if (options_.progress) options_.progress(done_bytes + bytes, total_bytes);
      };
      const auto file = ATOLL_TRY_CONTEXT(files_->get(shard.key), "reading records");
      ShardPass passed = ATOLL_TRY(pass_over_shard(file.bytes(),
                                                   static_cast<uint32_t>(i),
                                                   labels_ ? &*labels_ : nullptr,
                                                   options_.threads,
                                                   progress,
                                                   options_.stop));
      done_bytes += shard.size_bytes;
      lost_bytes += passed.lost_bytes;
      frames += passed.frames;
      frame_bytes += passed.record_bytes;
      for (const std::string& why : passed.bad_records) {
        findings_.bad_records.push_back(fmt::format("{}: {}", shard.key, why));
      }
      std::ranges::move(passed.records, std::back_inserter(records_));
    }
    if (options_.progress) options_.progress(total_bytes, total_bytes);
    // A broken chain is one line, but more than one record.
    findings_.bad_record_count = static_cast<int64_t>(findings_.bad_records.size());
    if (frames > 0) {
      findings_.bad_record_count +=
          static_cast<int64_t>(lost_bytes * frames / std::max<uint64_t>(frame_bytes, 1));
    }
    return check_bad_records();
  }

  Result<void> check_bad_records() const {
    if (findings_.bad_record_count <= options_.max_bad_records) return {};
    return fail(
        ErrorCode::kInvalidInput,
        fmt::format("{}: {}{}, {} allowed: {}",
                    files_->uri(),
                    findings_.bad_record_count > static_cast<int64_t>(findings_.bad_records.size())
                        ? "about "
                        : "",
                    format_count(static_cast<uint64_t>(findings_.bad_record_count), "bad record"),
                    options_.max_bad_records,
                    listed(findings_.bad_records, "; ")),
        fmt::format("copy the files again, or raise {}", options_.bad_limit_name));
  }

  void choose_ids() {
    std::unordered_set<int64_t> seen;
    std::string why;
    for (const PassedRecord& record : records_) {
      const auto id = whole_number(record.source_id);
      if (!id) {
        why = fmt::format("\"{}\" is no whole number", record.source_id);
      } else if (!seen.insert(*id).second) {
        why = fmt::format("{} appears twice", *id);
      }
      if (!why.empty()) break;
    }
    for (size_t i = 0; i < records_.size(); ++i) {
      ids_.push_back(why.empty() ? *whole_number(records_[i].source_id)
                                 : static_cast<int64_t>(i) + 1);
    }
    if (!why.empty()) {
      findings_.notes.push_back(
          fmt::format("the image ids are 1, 2, … in the records' order, for source_id does not "
                      "give them: {}",
                      why));
    }
  }

  // A class's name: the label map's, else the first that the records give.
  void note_class(int64_t label, std::string_view text) {
    auto [known, is_new] = categories_.try_emplace(label, text);
    if (is_new && labels_) {
      findings_.notes.push_back(
          fmt::format("label {} (\"{}\") is not in the label map", label, text));
    }
    if (text.empty() || known->second == text) return;
    if (known->second.empty()) {
      known->second = text;
      return;
    }
    const LabelMapItem* item = labels_ ? labels_->find(label) : nullptr;
    if (item != nullptr && item->name == text) return;
    if (contradicted_.insert(label).second) {
      findings_.notes.push_back(
          fmt::format("label {} is \"{}\" and also \"{}\"; it is called the first",
                      label,
                      known->second,
                      text));
    }
  }

  void note_classes() {
    if (labels_) {
      for (const LabelMapItem& item : labels_->items()) categories_[item.id] = item.shown();
    }
    for (const PassedRecord& record : records_) {
      for (size_t i = 0; i < record.objects.size(); ++i) {
        note_class(record.objects[i].category_id,
                   record.class_texts.empty() ? std::string_view() : record.class_texts[i]);
      }
    }
  }

  Result<void> add_images(CocoBuilder& builder) {
    std::unordered_set<std::string> taken;
    size_t renamed = 0;
    for (size_t i = 0; i < records_.size(); ++i) {
      const PassedRecord& record = records_[i];
      std::string name = record.file_name;
      if (!storage::check_key(name) || !taken.insert(name).second) {
        ++renamed;
        // An id is given once; only a file_name of that form can have taken the name.
        name = fmt::format("{:012}.{}", ids_[i], record.extension);
        while (!taken.insert(name).second) name.insert(0, "image-");
      }
      ATOLL_TRY(builder.add_image(ids_[i], record.width, record.height, name));
    }
    if (renamed > 0) {
      findings_.notes.push_back(
          fmt::format("{} images are called by their ids, for their image/filename is missing, "
                      "unsafe or another's, too",
                      renamed));
    }
    return {};
  }

  Result<OpenedIndex> build() {
    note_classes();
    CocoBuilder builder;
    for (const auto& [id, name] : categories_) {
      ATOLL_TRY(builder.add_category(
          {.id = id, .name = name.empty() ? fmt::format("class {}", id) : name}));
    }
    ATOLL_TRY(add_images(builder));
    int64_t annotation_id = 0;
    for (size_t i = 0; i < records_.size(); ++i) {
      for (AnnotationRecord& object : records_[i].objects) {
        object.id = ++annotation_id;
        object.image_id = ids_[i];
        ATOLL_TRY(builder.add_annotation(object));
      }
      // The builder has its own copy; both at once would be twice the masks.
      records_[i].objects = {};
    }
    OpenedIndex built;
    built.dataset = builder.finish();
    built.records = IndexedRecords{table_of(built.dataset), std::move(findings_)};
    records_ = {};
    return built;
  }

  RecordTable table_of(const CocoDataset& dataset) const {
    struct Arrays {
      std::vector<RecordPlace> places;
      std::vector<uint32_t> by_name;
    };
    auto arrays = std::make_shared<Arrays>();
    arrays->places.reserve(records_.size());
    for (const PassedRecord& record : records_) arrays->places.push_back(record.place);
    arrays->by_name.resize(records_.size());
    std::iota(arrays->by_name.begin(), arrays->by_name.end(), 0U);
    std::ranges::sort(
        arrays->by_name, {}, [&](uint32_t image) { return dataset.images()[image].file_name; });
    return {arrays->places, arrays->by_name, arrays};
  }

  std::unique_ptr<storage::ObjectStore> files_;
  const TfrecordOptions& options_;
  TfrecordShards shards_;
  std::string label_map_;  // its text, and that there is one
  std::optional<LabelMap> labels_;
  std::map<int64_t, std::string> categories_;
  std::unordered_set<int64_t> contradicted_;
  std::vector<PassedRecord> records_;
  std::vector<int64_t> ids_;
  RecordFindings findings_;
  TfrecordDataset result_;
};

}  // namespace

Result<TfrecordDataset> open_tfrecords(std::unique_ptr<storage::ObjectStore> files,
                                       const std::string& pattern,
                                       const TfrecordOptions& options) {
  return Opener(std::move(files), options).open(pattern);
}

Result<TfrecordDataset> open_tfrecords(std::string_view uri, const TfrecordOptions& options) {
  const TfrecordUri parsed = ATOLL_TRY(parse_tfrecord_uri(uri));
  auto files = ATOLL_TRY(storage::open_store(parsed.directory));
  return open_tfrecords(std::move(files), parsed.pattern, options);
}

}  // namespace atl::dataset
