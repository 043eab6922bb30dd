#include "sagemaker/channels.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <optional>
#include <set>

#include "dataset/layout.h"
#include "dataset/tfrecord_shards.h"
#include "storage/storage.h"

namespace atl::sagemaker {
namespace {

using dataset::Split;

constexpr std::string_view kScheme = "tfrecord:";
constexpr std::array<std::string_view, 5> kOtherThings = {
    "weights", "model", "pretrained", "checkpoint", "config"};
constexpr std::array<std::string_view, 2> kTrainNames = {"train", "training"};
constexpr std::array<std::string_view, 5> kValNames = {
    "val", "valid", "validation", "eval", "test"};
constexpr std::array<std::string_view, 2> kAnnotationNames = {"annotations", "annotation"};
// Folders of a channel that are looked into for a dataset.
constexpr size_t kMostFolders = 64;

template <typename Names>
bool is_one_of(const Names& names, std::string_view name) {
  return std::ranges::find(names, name) != names.end();
}

tl::unexpected<Error> wrong(std::string message, std::string hint = {}) {
  return fail(ErrorCode::kInvalidInput, std::move(message), std::move(hint));
}

std::string names_of(const std::vector<const ChannelFolder*>& channels) {
  std::vector<std::string> names;
  names.reserve(channels.size());
  for (const auto* channel : channels) names.push_back(channel->channel.name);
  return fmt::format("{}", fmt::join(names, ", "));
}

// --- Paths of several folders as one root and keys below it ---

std::string joined(const std::string& folder, std::string_view key) {
  return folder.empty() ? std::string(key) : fmt::format("{}/{}", folder, key);
}

// The folder that all of them are in, which may be one of them; of s3:// at least the bucket. "" where there is none.
std::string common_folder(const std::vector<std::string>& folders) {
  std::string common = folders.front();
  for (const std::string& folder : folders) {
    while (folder != common && !folder.starts_with(common + "/")) {
      const size_t slash = common.rfind('/');
      if (slash == std::string::npos || slash == 0 || common[slash - 1] == '/') return {};
      common.resize(slash);
    }
  }
  return common;
}

std::string below(const std::string& root, const std::string& folder) {
  return folder == root ? std::string() : folder.substr(root.size() + 1);
}

std::string without_slash(std::string folder) {
  while (folder.size() > 1 && folder.ends_with('/')) folder.pop_back();
  return folder;
}

// --- TFRecords ---

// The record files right in the folder as a pattern; "" where there are none.
Result<std::string> pattern_in(storage::ObjectStore& store) {
  std::string first;
  ATOLL_TRY(store.list("", [&](const storage::ObjectInfo& info) {
    if (info.key.find('/') == std::string::npos && dataset::looks_like_shard(info.key)) {
      first = info.key;
    }
    return first.empty();
  }));
  if (first.empty()) return first;
  const bool ends_in_number = first.back() >= '0' && first.back() <= '9';
  return ends_in_number ? std::string("*-of-*") : "*" + first.substr(first.rfind('.'));
}

struct Pattern {
  std::string folder;
  std::string files;  // '*' and '?'
};

Result<Pattern> split_pattern(const std::string& given, const Paths& paths) {
  std::string path = paths.here(given);
  if (path.starts_with(kScheme)) path.erase(0, kScheme.size());
  if (!path.starts_with('/') && path.find("://") == std::string::npos) {
    path = joined(paths.channels(), path);
  }
  const size_t slash = path.rfind('/');
  Pattern pattern{path.substr(0, slash), path.substr(slash + 1)};
  if (pattern.folder.empty() || pattern.files.empty() ||
      pattern.folder.find('*') != std::string::npos) {
    return wrong(fmt::format("\"{}\" is no pattern of files in one folder", given),
                 "write /opt/ml/input/data/CHANNEL/train-*.tfrecord");
  }
  return pattern;
}

Result<void> check_pattern(const Pattern& pattern, Split split, const char* name) {
  const auto store = ATOLL_TRY(storage::open_store(pattern.folder));
  ATOLL_TRY_CONTEXT(
      dataset::find_tfrecord_shards(*store, pattern.files, split, dataset::PatternMeans::kSplit),
      fmt::format("hyperparameter {}", name));
  return {};
}

// The lab's patterns.
Result<DataPlace> find_by_patterns(const Settings& settings, const Paths& paths) {
  std::optional<Pattern> train, val;
  if (!settings.training_files.empty()) {
    train = ATOLL_TRY(split_pattern(settings.training_files, paths));
    ATOLL_TRY(check_pattern(*train, Split::kTrain, "training_file_pattern"));
  }
  if (!settings.validation_files.empty()) {
    val = ATOLL_TRY(split_pattern(settings.validation_files, paths));
    ATOLL_TRY(check_pattern(*val, Split::kVal, "validation_file_pattern"));
  }
  if (!train && settings.mode != Mode::kEvaluate) {
    return wrong(
        "the hyperparameter validation_file_pattern is given without training_file_pattern");
  }
  if (train && !val) {
    return DataPlace{.path = fmt::format("{}{}/{}", kScheme, train->folder, train->files),
                     .description = fmt::format("TFRecords {}/{}", train->folder, train->files)};
  }
  if (!train) train = val;
  const std::string root = common_folder({train->folder, val->folder});
  if (root.empty()) {
    return wrong(fmt::format("{} and {} are in no folder together", train->folder, val->folder),
                 "put the training and the validation records into one bucket or channel");
  }
  DataPlace place{.path = fmt::format("{}{}", kScheme, root)};
  place.train_annotations = joined(below(root, train->folder), train->files);
  place.val_annotations = joined(below(root, val->folder), val->files);
  place.description = fmt::format(
      "TFRecords {}/{} and {}/{}", train->folder, train->files, val->folder, val->files);
  return place;
}

// --- Channels ---

Result<void> check_channel(const ChannelFolder& channel, int hosts) {
  if (channel.channel.sharded && hosts > 1) {
    return fail(ErrorCode::kUnsupported,
                fmt::format("{}: every host has a part of its objects only (ShardedByS3Key)",
                            shown(channel)),
                "make it FullyReplicated: each rank chooses its own images from all of them");
  }
  const auto store = ATOLL_TRY_CONTEXT(storage::open_store(channel.folder), shown(channel));
  bool anything = false;
  ATOLL_TRY_CONTEXT(store->list("",
                                [&](const storage::ObjectInfo&) {
                                  anything = true;
                                  return false;
                                }),
                    shown(channel));
  if (anything) return {};
  return wrong(
      fmt::format("{}: there is nothing in it", shown(channel)),
      "see that the channel's S3 prefix or file system path is right and holds objects that "
      "the job's role may read");
}

// A whole dataset in a folder; nullopt where there is none. kInvalidInput: half of one.
Result<std::optional<DataPlace>> find_in_folder(const std::string& folder, Split split) {
  const auto store = ATOLL_TRY(storage::open_store(folder));
  const auto json = ATOLL_TRY(dataset::find_annotations(*store, split));
  std::optional<Error> broken;
  if (json) {
    const auto coco = dataset::find_split(*store, split);
    if (coco) {
      return DataPlace{.path = folder, .description = fmt::format("COCO's layout in {}", folder)};
    }
    broken = coco.error();
  }
  const auto shards = dataset::find_tfrecord_shards(*store, "", split);
  if (shards) {
    return DataPlace{.path = fmt::format("{}{}", kScheme, folder),
                     .description = fmt::format("TFRecords in {}", folder)};
  }
  if (broken) return tl::unexpected(*std::move(broken));
  if (shards.error().code != ErrorCode::kNotFound) return tl::unexpected(shards.error());
  return std::nullopt;
}

// In train/ and val/ of the channel.
Result<std::optional<DataPlace>> find_in_split_folders(const std::string& folder) {
  for (const char* const val : {"val", "valid", "validation"}) {
    const std::string train_folder = joined(folder, "train");
    const std::string val_folder = joined(folder, val);
    const auto train_store = ATOLL_TRY(storage::open_store(train_folder));
    const auto val_store = ATOLL_TRY(storage::open_store(val_folder));
    const std::string train_files = ATOLL_TRY(pattern_in(*train_store));
    const std::string val_files = ATOLL_TRY(pattern_in(*val_store));
    if (train_files.empty() || val_files.empty()) continue;
    DataPlace place{.path = fmt::format("{}{}", kScheme, folder)};
    place.train_annotations = joined("train", train_files);
    place.val_annotations = joined(val, val_files);
    place.description = fmt::format("TFRecords in {} and {}", train_folder, val_folder);
    return place;
  }
  return std::nullopt;
}

Result<DataPlace> find_in_one(const ChannelFolder& channel, Split split) {
  if (auto here = ATOLL_TRY(find_in_folder(channel.folder, split))) return *std::move(here);
  if (auto here = ATOLL_TRY(find_in_split_folders(channel.folder))) return *std::move(here);
  const auto store = ATOLL_TRY(storage::open_store(channel.folder));
  std::set<std::string> folders;
  ATOLL_TRY(store->list("", [&](const storage::ObjectInfo& info) {
    const size_t slash = info.key.find('/');
    if (slash != std::string::npos) folders.insert(info.key.substr(0, slash));
    return folders.size() < kMostFolders;
  }));
  std::vector<DataPlace> found;
  for (const std::string& folder : folders) {
    if (auto place = ATOLL_TRY(find_in_folder(joined(channel.folder, folder), split))) {
      found.push_back(*std::move(place));
    }
  }
  if (found.size() == 1) return std::move(found.front());
  if (found.size() > 1) {
    return wrong(
        fmt::format(
            "several datasets: {} and {}", found.front().description, found.back().description),
        fmt::format("say which: data.path = {}", found.front().path));
  }
  return wrong(fmt::format("neither {} annotations in COCO's layout nor TFRecords",
                           split == Split::kTrain ? "training" : "validation"),
               "the channel should hold annotations/instances_train2017.json and train2017/, or "
               "files such as train-00000-of-00256.tfrecord");
}

// As in a dataset, and right in the channel: what lies below annotations/ elsewhere.
Result<std::optional<std::string>> annotations_in(const ChannelFolder& channel, Split split) {
  const auto store = ATOLL_TRY(storage::open_store(channel.folder));
  const auto found = ATOLL_TRY(dataset::find_annotations(*store, split));
  if (found && found->note.empty()) return found->annotations;
  // Of several years the latest, the last of them.
  const std::string_view begin = split == Split::kTrain ? "instances_train" : "instances_val";
  std::string last;
  ATOLL_TRY(store->list(begin, [&](const storage::ObjectInfo& info) {
    const bool json = info.key.ends_with(".json") && info.key.find('/') == std::string::npos;
    if (json) last = info.key;
    return true;
  }));
  if (!last.empty()) return last;
  return found ? std::optional(found->annotations) : std::nullopt;
}

// The JSON of a split and its pictures, of which each may be in a channel of its own.
Result<void> find_split_in(const ChannelFolder& pictures,
                           const ChannelFolder* annotations,
                           const std::string& root,
                           Split split,
                           std::string& json,
                           std::string& images) {
  const ChannelFolder& of_json = annotations != nullptr ? *annotations : pictures;
  const auto json_store = ATOLL_TRY(storage::open_store(of_json.folder));
  const auto found = ATOLL_TRY_CONTEXT(annotations_in(of_json, split), shown(of_json));
  if (!found) {
    return wrong(fmt::format("{}: no {} annotations",
                             shown(of_json),
                             split == Split::kTrain ? "training" : "validation"),
                 split == Split::kTrain ? "put instances_train2017.json into it"
                                        : "put instances_val2017.json into it");
  }
  const auto names = ATOLL_TRY(dataset::some_file_names(*json_store, *found));
  const auto picture_store = ATOLL_TRY(storage::open_store(pictures.folder));
  const std::string_view key = *found;
  const std::string prefix = ATOLL_TRY_CONTEXT(
      dataset::find_image_prefix(*picture_store, key.substr(key.rfind('/') + 1), names),
      shown(pictures));
  json = joined(below(root, of_json.folder), *found);
  // "." names the root: "" would mean "to be found".
  images = joined(below(root, pictures.folder), without_slash(prefix));
  images = without_slash(images).empty() ? "." : without_slash(images);
  return {};
}

struct Sorted {
  std::vector<const ChannelFolder*> train, val, annotations, whole;
};

Sorted sorted(const std::vector<ChannelFolder>& channels) {
  Sorted result;
  for (const auto& channel : channels) {
    const std::string& name = channel.channel.name;
    if (is_one_of(kOtherThings, name)) continue;
    if (is_one_of(kTrainNames, name)) {
      result.train.push_back(&channel);
    } else if (is_one_of(kValNames, name)) {
      result.val.push_back(&channel);
    } else if (is_one_of(kAnnotationNames, name)) {
      result.annotations.push_back(&channel);
    } else {
      result.whole.push_back(&channel);
    }
  }
  return result;
}

// Training and validation apart.
Result<DataPlace> find_in_several(const ChannelFolder& train,
                                  const ChannelFolder* val,
                                  const ChannelFolder* annotations) {
  std::vector<std::string> folders = {train.folder};
  if (val != nullptr) folders.push_back(val->folder);
  if (annotations != nullptr) folders.push_back(annotations->folder);
  const std::string root = common_folder(folders);
  if (root.empty()) {
    return wrong(
        fmt::format("the channels' folders {} are in no folder together", fmt::join(folders, ", ")),
        "give all of them the same mode: FastFile, or Pipe");
  }
  const auto train_store = ATOLL_TRY(storage::open_store(train.folder));
  const std::string train_files = ATOLL_TRY_CONTEXT(pattern_in(*train_store), shown(train));
  DataPlace place;
  if (!train_files.empty() && val != nullptr) {
    const auto val_store = ATOLL_TRY(storage::open_store(val->folder));
    const std::string val_files = ATOLL_TRY_CONTEXT(pattern_in(*val_store), shown(*val));
    if (val_files.empty()) {
      return wrong(fmt::format("{}: there are TFRecords in channel {}, but none here",
                               shown(*val),
                               train.channel.name),
                   "give both splits in the same form");
    }
    place.path = fmt::format("{}{}", kScheme, root);
    place.train_annotations = joined(below(root, train.folder), train_files);
    place.val_annotations = joined(below(root, val->folder), val_files);
    place.description = fmt::format("TFRecords in {} and {}", train.folder, val->folder);
    return place;
  }
  if (!train_files.empty()) return find_in_one(train, Split::kTrain);
  place.path = root;
  ATOLL_TRY(find_split_in(
      train, annotations, root, Split::kTrain, place.train_annotations, place.train_images));
  const ChannelFolder& val_pictures = val != nullptr ? *val : train;
  const auto found = find_split_in(
      val_pictures, annotations, root, Split::kVal, place.val_annotations, place.val_images);
  // A validation channel must be right; without one the annotations alone may happen to have that split.
  if (!found && val != nullptr) return tl::unexpected(found.error());
  // Pictures of both splits may have the same names, so those of training are not taken for the others.
  const bool own_pictures =
      val != nullptr ||
      place.val_images.find("val", below(root, train.folder).size()) != std::string::npos;
  if (!found || !own_pictures) place.val_annotations = place.val_images = "";
  place.description =
      fmt::format("COCO's annotations {} and {}",
                  place.train_annotations,
                  place.val_annotations.empty() ? "none for validation" : place.val_annotations);
  return place;
}

Result<DataPlace> find_in_channels(const Settings& settings,
                                   const std::vector<ChannelFolder>& channels,
                                   int hosts) {
  const Sorted by_kind = sorted(channels);
  for (const auto* list : {&by_kind.train, &by_kind.val, &by_kind.annotations, &by_kind.whole}) {
    for (const auto* channel : *list) ATOLL_TRY(check_channel(*channel, hosts));
    if (list->size() > 1) {
      return wrong(fmt::format("several channels could be meant: {}", names_of(*list)),
                   "say which: data.path = /opt/ml/input/data/CHANNEL");
    }
  }
  const auto only = [](const auto& list) { return list.empty() ? nullptr : list.front(); };
  const ChannelFolder* const train = only(by_kind.train);
  const ChannelFolder* const val = only(by_kind.val);
  const ChannelFolder* const annotations = only(by_kind.annotations);
  const ChannelFolder* const whole = only(by_kind.whole);
  const Split wanted = settings.mode == Mode::kEvaluate ? Split::kVal : Split::kTrain;
  if (train != nullptr && (val != nullptr || annotations != nullptr)) {
    return find_in_several(*train, val, annotations);
  }
  const ChannelFolder* single = train != nullptr ? train : whole;
  if (train != nullptr && whole != nullptr) {
    return wrong(
        fmt::format(
            "several channels could be meant: {}, {}", train->channel.name, whole->channel.name),
        "say which: data.path = /opt/ml/input/data/CHANNEL");
  }
  if (single == nullptr && wanted == Split::kVal) single = val;
  if (single == nullptr) {
    return wrong("no channel of the job holds training data",
                 "add a channel \"training\" with the dataset's prefix (FastFile mode), or set the "
                 "hyperparameter data.path = s3://BUCKET/PREFIX");
  }
  auto place = ATOLL_TRY_CONTEXT(find_in_one(*single, wanted), shown(*single));
  place.description = fmt::format("{}: {}", shown(*single), place.description);
  return place;
}

}  // namespace

Result<DataPlace> find_data(const Settings& settings,
                            const std::vector<ChannelFolder>& channels,
                            const Paths& paths,
                            int hosts) {
  const bool by_patterns = !settings.training_files.empty() || !settings.validation_files.empty();
  if (!settings.data.empty() && by_patterns) {
    return wrong(
        "the hyperparameters data.path and training_file_pattern both say where the data is",
        "give one of them");
  }
  if (!settings.data.empty()) {
    const std::string path = paths.here(settings.data);
    return DataPlace{.path = path, .description = path};
  }
  if (by_patterns) return find_by_patterns(settings, paths);
  return find_in_channels(settings, channels, hosts);
}

bool holds_data(std::string_view channel_name) { return !is_one_of(kOtherThings, channel_name); }

std::string shown(const ChannelFolder& channel) {
  return fmt::format(
      "channel {} ({}, {})", channel.channel.name, channel.folder, name_of(channel.channel.mode));
}

const char* name_of(InputMode mode) {
  switch (mode) {
    case InputMode::kFile:
      return "File";
    case InputMode::kFastFile:
      return "FastFile";
    case InputMode::kPipe:
      return "Pipe";
  }
  return "?";
}

}  // namespace atl::sagemaker
