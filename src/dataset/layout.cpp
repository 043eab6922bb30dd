#include "dataset/layout.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <optional>
#include <span>

#include "base/parallel.h"
#include "dataset/coco_builder.h"

namespace atl::dataset {
namespace {

constexpr size_t kNamesToTry = 5;

// Questions to the store at a time: those to a bucket take a while each, and hardly any work.
constexpr int kQuestions = 32;
// So many places are tried at once before the next ones.
constexpr size_t kPlacesAtOnce = 4;

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

// Without a year.
std::vector<std::string> keys_of_split(Split split) {
  std::vector<std::string> keys;
  for (const std::string& name : names_of(split)) {
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
  const size_t names = some_file_names.size();
  size_t best_hits = 0;
  std::string best;
  for (size_t first = 0; first < prefixes.size() && best_hits < names; first += kPlacesAtOnce) {
    const size_t end = std::min(prefixes.size(), first + kPlacesAtOnce);
    std::vector<std::string> keys;
    for (size_t place = first; place < end; ++place) {
      for (const std::string& name : some_file_names) keys.push_back(prefixes[place] + name);
    }
    const auto there = ATOLL_TRY(which_exist(store, keys));
    for (size_t place = first; place < end; ++place) {
      const auto of_place = std::span(there).subspan((place - first) * names, names);
      const auto hits = static_cast<size_t>(std::count(of_place.begin(), of_place.end(), 1));
      if (hits <= best_hits) continue;
      best_hits = hits;
      best = prefixes[place];
    }
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
  // All other names at once: those with a year, then the split's own, then those for both splits.
  std::vector<std::string> keys = keys_of_split(split);
  const size_t own = keys.size();
  for (std::string& key : keys_for_both()) keys.push_back(std::move(key));
  Result<std::vector<std::string>> dated;
  Result<std::vector<char>> there;
  parallel_for(2, 2, 1, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) {
      if (i == 0) dated = with_any_year(store, names_of(split).front());
      if (i == 1) there = which_exist(store, keys);
    }
  });
  if (!dated) return tl::unexpected(dated.error());
  if (!there) return tl::unexpected(there.error());
  if (!dated->empty()) return SplitLocation{.annotations = dated->front()};
  const auto first =
      static_cast<size_t>(std::find(there->begin(), there->end(), 1) - there->begin());
  if (first == keys.size()) return std::nullopt;
  SplitLocation location{.annotations = keys[first]};
  if (first < own) return location;
  location.note = fmt::format(
      "{} has no annotations for {} alone: {} serves for training and for validation, so the "
      "validation numbers are those of images that were trained on",
      store.uri(),
      long_name_of(split),
      keys[first]);
  return location;
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
  const std::string usual = usual_key(split);
  std::vector<std::string> keys = {usual};
  for (auto&& more : {keys_of_split(split), keys_for_both()}) {
    keys.insert(keys.end(), more.begin(), more.end());
  }
  return fail(ErrorCode::kInvalidInput,
              fmt::format("no {} annotations in {}: looked for {}",
                          long_name_of(split),
                          store.uri(),
                          fmt::join(keys, ", ")),
              fmt::format("put them at {}, or name the file", usual));
}

}  // namespace atl::dataset
