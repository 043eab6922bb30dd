#include "dataset/layout.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <optional>

#include "base/parallel.h"
#include "dataset/coco_builder.h"

namespace atl::dataset {
namespace {

constexpr size_t kNamesToTry = 5;

// Questions to the store at a time: those to a bucket take a while each, and hardly any work.
constexpr int kQuestions = 16;

// Of a JSON: the images come first, and five of them take a kilobyte.
constexpr uint64_t kBeginBytes = uint64_t{1} << 20;

// Names of the split, the usual one first.
std::vector<std::string> names_of(Split split) {
  if (split == Split::kTrain) return {"train"};
  return {"val", "valid"};
}

const char* long_name_of(Split split) { return split == Split::kTrain ? "training" : "validation"; }

Result<bool> exists(storage::ObjectStore& store, std::string_view key) {
  const auto info = store.head(key);
  if (info) return true;
  // A name that may not be a key (../x.jpg) is not there either.
  if (info.error().code == ErrorCode::kNotFound || info.error().code == ErrorCode::kInvalidInput) {
    return false;
  }
  return tl::unexpected(info.error());
}

// annotations/instances_train2014.json and the like, the latest year first.
Result<std::vector<std::string>> with_any_year(storage::ObjectStore& store,
                                               std::string_view split) {
  const std::string begin = fmt::format("annotations/instances_{}", split);
  constexpr std::string_view kEnd = ".json";
  std::vector<std::string> keys;
  ATOLL_TRY(store.list(begin, [&](const storage::ObjectInfo& info) {
    const std::string_view key = info.key;
    if (!key.ends_with(kEnd) || key.size() != begin.size() + 4 + kEnd.size()) return true;
    const auto year = key.substr(begin.size(), 4);
    if (std::all_of(
            year.begin(), year.end(), [](unsigned char c) { return std::isdigit(c) != 0; })) {
      keys.push_back(info.key);
    }
    return true;
  }));
  std::sort(keys.rbegin(), keys.rend());
  return keys;
}

std::string usual_key(Split split) {
  return fmt::format("annotations/instances_{}2017.json", names_of(split).front());
}

Result<std::vector<std::string>> keys_of_split(storage::ObjectStore& store, Split split) {
  const auto names = names_of(split);
  std::vector<std::string> keys = {usual_key(split)};
  for (std::string& key : ATOLL_TRY(with_any_year(store, names.front()))) {
    keys.push_back(std::move(key));
  }
  for (const std::string& name : names) {
    for (const char* folder : {"annotations/", ""}) {
      keys.push_back(fmt::format("{}instances_{}.json", folder, name));
      keys.push_back(fmt::format("{}{}.json", folder, name));
    }
    keys.push_back(fmt::format("{}/_annotations.coco.json", name));
  }
  return keys;
}

std::vector<std::string> keys_for_both() {
  std::vector<std::string> keys;
  for (const char* folder : {"annotations/", ""}) {
    for (const char* name : {"trainval", "instances_default", "instances", "annotations"}) {
      keys.push_back(fmt::format("{}{}.json", folder, name));
    }
  }
  return keys;
}

// "annotations/instances_train2017.json" -> "train2017"
std::string_view folder_name_of(std::string_view annotations_key) {
  std::string_view name = annotations_key.substr(annotations_key.rfind('/') + 1);
  if (name.starts_with("instances_")) name.remove_prefix(10);
  return name.substr(0, name.find('.'));
}

std::vector<std::string> prefixes_for(std::string_view annotations_key,
                                      std::string_view preferred) {
  std::vector<std::string> prefixes;
  const auto add = [&](std::string prefix) {
    if (!prefix.empty() && !prefix.ends_with('/')) prefix += '/';
    if (std::find(prefixes.begin(), prefixes.end(), prefix) == prefixes.end()) {
      prefixes.push_back(std::move(prefix));
    }
  };
  if (!preferred.empty()) add(std::string(preferred));
  const size_t slash = annotations_key.rfind('/');
  const std::string beside(
      annotations_key.substr(0, slash == std::string_view::npos ? 0 : slash + 1));
  const std::string_view name = folder_name_of(annotations_key);
  // The same places below the folder of the JSON and below the root.
  for (const std::string& folder : {beside, std::string()}) {
    for (const std::string_view parent : {"", "images/"})
      add(fmt::format("{}{}{}", folder, parent, name));
  }
  // A year in the JSON's name need not stand in the folder's.
  const std::string_view plain = name.substr(0, name.find_last_not_of("0123456789") + 1);
  add(std::string(plain));
  add(fmt::format("images/{}", plain));
  add(beside + "images");
  add("images");
  add(beside);
  add("");
  return prefixes;
}

Result<std::vector<char>> which_exist(storage::ObjectStore& store,
                                      const std::vector<std::string>& keys) {
  std::vector<Result<bool>> answers(keys.size(), false);
  parallel_for(keys.size(), kQuestions, 1, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) answers[i] = exists(store, keys[i]);
  });
  std::vector<char> there;
  there.reserve(keys.size());
  for (auto& answer : answers) there.push_back(ATOLL_TRY(std::move(answer)) ? 1 : 0);
  return there;
}

Result<std::optional<std::string>> first_existing(storage::ObjectStore& store,
                                                  const std::vector<std::string>& keys) {
  const auto there = ATOLL_TRY(which_exist(store, keys));
  const auto first = std::find(there.begin(), there.end(), 1);
  if (first == there.end()) return std::nullopt;
  return keys[static_cast<size_t>(first - there.begin())];
}

}  // namespace

Result<std::string> find_image_prefix(storage::ObjectStore& store,
                                      std::string_view annotations_key,
                                      const std::vector<std::string>& some_file_names,
                                      std::string_view preferred) {
  const auto prefixes = prefixes_for(annotations_key, preferred);
  if (some_file_names.empty()) {
    return fail(ErrorCode::kInvalidInput,
                fmt::format("{}/{} names no images", store.uri(), annotations_key),
                "a dataset needs at least one image");
  }
  // Several names, because one missing file must not hide the folder; most hits win, ties go to
  // the earlier place.
  size_t best_hits = 0;
  std::string best;
  for (const std::string& prefix : prefixes) {
    std::vector<std::string> keys;
    keys.reserve(some_file_names.size());
    for (const std::string& name : some_file_names) keys.push_back(prefix + name);
    const auto there = ATOLL_TRY(which_exist(store, keys));
    const auto hits = static_cast<size_t>(std::count(there.begin(), there.end(), 1));
    if (hits > best_hits) {
      best_hits = hits;
      best = prefix;
    }
    if (hits == some_file_names.size()) break;
  }
  if (best_hits > 0) return best;
  std::string places;
  for (const std::string& prefix : prefixes) {
    places += fmt::format("{}{}", places.empty() ? "" : ", ", prefix.empty() ? "the root" : prefix);
  }
  return fail(ErrorCode::kInvalidInput,
              fmt::format("the images of {} are not in {}: looked for {} in {}",
                          annotations_key,
                          store.uri(),
                          some_file_names.front(),
                          places),
              "name the folder of the images");
}

// Nearly every JSON begins with its images, so its beginning has them; else all of it is read.
Result<std::vector<std::string>> some_file_names(storage::ObjectStore& store,
                                                 std::string_view annotations_key) {
  const auto begin = ATOLL_TRY(store.get_range(annotations_key, 0, kBeginBytes));
  if (begin.size() == kBeginBytes) {
    auto names = first_file_names(begin.text(), kNamesToTry);
    if (names && names->size() == kNamesToTry) return names;
  }
  const storage::Blob json = ATOLL_TRY(store.get(annotations_key));
  return first_file_names(json.text(), kNamesToTry);
}

Result<SplitLocation> locate_images(storage::ObjectStore& store, std::string_view annotations_key) {
  const auto names = ATOLL_TRY_CONTEXT(some_file_names(store, annotations_key), annotations_key);
  return SplitLocation{.annotations = std::string(annotations_key),
                       .image_prefix = ATOLL_TRY(find_image_prefix(store, annotations_key, names)),
                       .note = {}};
}

Result<std::optional<SplitLocation>> find_annotations(storage::ObjectStore& store, Split split) {
  if (ATOLL_TRY(exists(store, usual_key(split)))) {
    return SplitLocation{.annotations = usual_key(split)};
  }
  const auto own = ATOLL_TRY(keys_of_split(store, split));
  if (const auto key = ATOLL_TRY(first_existing(store, own)))
    return SplitLocation{.annotations = *key};
  const auto key = ATOLL_TRY(first_existing(store, keys_for_both()));
  if (!key) return std::nullopt;
  return SplitLocation{
      .annotations = *key,
      .note = fmt::format(
          "{} has no annotations for {} alone: {} serves for training and for validation, so the "
          "validation numbers are those of images that were trained on",
          store.uri(),
          long_name_of(split),
          *key)};
}

Result<SplitLocation> find_split(storage::ObjectStore& store, Split split) {
  const auto found = ATOLL_TRY(find_annotations(store, split));
  if (found) {
    SplitLocation location = ATOLL_TRY(locate_images(store, found->annotations));
    location.note = found->note;
    return location;
  }
  bool anything = false;
  ATOLL_TRY(store.list("", [&](const storage::ObjectInfo&) {
    anything = true;
    return false;
  }));
  if (!anything) {
    return fail(ErrorCode::kInvalidInput,
                fmt::format("{}: there is no dataset, nor anything else", store.uri()),
                "check the path");
  }
  auto keys = ATOLL_TRY(keys_of_split(store, split));
  const std::string usual = keys.front();
  const auto shared = keys_for_both();
  keys.insert(keys.end(), shared.begin(), shared.end());
  return fail(ErrorCode::kInvalidInput,
              fmt::format("no {} annotations in {}: looked for {}",
                          long_name_of(split),
                          store.uri(),
                          fmt::join(keys, ", ")),
              fmt::format("put them at {}, or name the file", usual));
}

}  // namespace atl::dataset
