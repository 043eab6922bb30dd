#include "dataset/tfrecord_shards.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <map>
#include <optional>
#include <set>
#include <tuple>

namespace atl::dataset {
namespace {

constexpr std::string_view kScheme = "tfrecord:";
// More shards than this is no number of shards.
constexpr size_t kMaxDigits = 6;
constexpr std::array<std::string_view, 4> kEndings = {
    ".tfrecord", ".tfrecords", ".record", ".tfrec"};
constexpr std::array<std::string_view, 2> kTrainWords = {"train", "training"};
constexpr std::array<std::string_view, 4> kValWords = {"val", "valid", "validation", "eval"};

bool is_digit(char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; }
bool is_letter(char c) { return std::isalpha(static_cast<unsigned char>(c)) != 0; }

bool has_wildcards(std::string_view text) {
  return text.find_first_of("*?") != std::string_view::npos;
}

// The name with the word that tells its split taken out, and which one that was.
struct SplitOfName {
  std::optional<Split> split;
  std::string rest;
};

SplitOfName split_of(std::string_view group) {
  for (size_t begin = 0; begin < group.size();) {
    if (!is_letter(group[begin])) {
      ++begin;
      continue;
    }
    const auto end_at =
        std::find_if_not(group.begin() + static_cast<ptrdiff_t>(begin), group.end(), is_letter);
    const auto end = static_cast<size_t>(end_at - group.begin());
    const std::string_view word = group.substr(begin, end - begin);
    const auto is_in = [&](const auto& words) { return std::ranges::count(words, word) > 0; };
    std::optional<Split> split;
    if (is_in(kTrainWords)) split = Split::kTrain;
    if (is_in(kValWords)) split = Split::kVal;
    if (split) return {split, fmt::format("{}|{}", group.substr(0, begin), group.substr(end))};
    begin = end;
  }
  return {std::nullopt, std::string(group)};
}

const char* name_of(Split split) { return split == Split::kTrain ? "training" : "validation"; }

// Shards of one name, whatever their numbers.
using Groups = std::map<std::string, std::vector<storage::ObjectInfo>>;

// The files right in the folder.
Result<std::vector<storage::ObjectInfo>> list_shards(storage::ObjectStore& store,
                                                     std::string_view folder) {
  std::vector<storage::ObjectInfo> found;
  ATOLL_TRY(store.list(folder, [&](const storage::ObjectInfo& info) {
    if (info.key.find('/', folder.size()) == std::string::npos) found.push_back(info);
    return true;
  }));
  return found;
}

Groups groups_of(const std::vector<storage::ObjectInfo>& files, std::string_view pattern) {
  Groups groups;
  for (const auto& info : files) {
    const bool fits =
        pattern.empty() ? looks_like_shard(info.key) : matches_wildcards(pattern, info.key);
    if (fits) groups[parse_shard_name(info.key).group()].push_back(info);
  }
  return groups;
}

Groups of_split(const Groups& groups, std::optional<Split> split) {
  Groups chosen;
  for (const auto& [name, shards] : groups) {
    if (split_of(name).split == split) chosen.emplace(name, shards);
  }
  return chosen;
}

// The groups of the split called like some of `others` but for that word.
Groups siblings(const Groups& all, const Groups& others, Split split) {
  std::set<std::string> names;
  for (const auto& [name, shards] : others) names.insert(split_of(name).rest);
  Groups chosen = of_split(all, split);
  std::erase_if(chosen,
                [&](const auto& group) { return !names.contains(split_of(group.first).rest); });
  return chosen;
}

std::string names_of(const Groups& groups) {
  std::string text;
  for (const auto& [name, shards] : groups) {
    text += fmt::format("{}{}", text.empty() ? "" : ", ", shards.front().key);
  }
  return text;
}

// "train-*.tfrecord", as the user would write it.
std::string pattern_of(const Groups& groups) {
  std::string text;
  for (const auto& [group, shards] : groups) {
    const ShardName name = parse_shard_name(shards.front().key);
    text += text.empty() ? "" : ", ";
    text += name.count == 0
                ? shards.front().key
                : fmt::format("{}*-of-{:0{}}{}", name.before, name.count, name.digits, name.after);
  }
  return text;
}

// The groups' shards in order, and which numbers are not there.
Result<TfrecordShards> in_order(const Groups& groups,
                                std::string_view pattern,
                                std::string_view uri) {
  TfrecordShards result;
  result.pattern = pattern_of(groups);
  for (const auto& [group, shards] : groups) {
    std::vector<std::pair<ShardName, storage::ObjectInfo>> named;
    for (const auto& info : shards) named.emplace_back(parse_shard_name(info.key), info);
    std::ranges::sort(named, {}, [](const auto& shard) {
      return std::tuple(shard.first.count, shard.first.number, shard.second.key);
    });
    const ShardName& first = named.front().first;
    const ShardName& last = named.back().first;
    if (first.count != last.count) {
      return fail(ErrorCode::kInvalidInput,
                  fmt::format("{}: shards of {} and shards of {} lie side by side: {}, {}",
                              uri,
                              first.count,
                              last.count,
                              named.front().second.key,
                              named.back().second.key),
                  "name those that you mean, or remove the others");
    }
    std::set<size_t> there;
    for (auto& [name, info] : named) {
      there.insert(name.number);
      result.shards.push_back(std::move(info));
    }
    for (size_t number = 0; number < first.count; ++number) {
      if (there.contains(number)) continue;
      auto name = fmt::format("{}{:0{}}-of-{:0{}}{}",
                              first.before,
                              number,
                              first.digits,
                              first.count,
                              first.digits,
                              first.after);
      if (pattern.empty() || matches_wildcards(pattern, name)) {
        result.missing.push_back(std::move(name));
      }
    }
  }
  return result;
}

}  // namespace

bool looks_like_shard(std::string_view name) {
  const ShardName parts = parse_shard_name(name);
  if (parts.count > 0) return true;
  return std::ranges::any_of(kEndings, [&](auto ending) { return name.ends_with(ending); });
}

std::string folder_of_pattern(std::string_view pattern) {
  const size_t slash = pattern.rfind('/');
  return std::string(pattern.substr(0, slash == std::string_view::npos ? 0 : slash + 1));
}

bool is_tfrecord_uri(std::string_view uri) { return uri.starts_with(kScheme); }

Result<TfrecordUri> parse_tfrecord_uri(std::string_view uri) {
  if (!is_tfrecord_uri(uri)) {
    return fail(ErrorCode::kInvalidInput,
                fmt::format("{} does not begin with {}", uri, kScheme),
                "write tfrecord:DIR or tfrecord:DIR/train-*.tfrecord");
  }
  const std::string_view path = uri.substr(kScheme.size());
  const size_t slash = path.rfind('/');
  const std::string_view name = path.substr(slash + 1);  // npos + 1 is 0
  TfrecordUri result{std::string(path), ""};
  if (has_wildcards(name) || looks_like_shard(name)) {
    const std::string_view directory = slash == std::string_view::npos ? "."
                                       : slash == 0                    ? "/"
                                                                       : path.substr(0, slash);
    result = {std::string(directory), std::string(name)};
  }
  if (has_wildcards(result.directory)) {
    return fail(ErrorCode::kInvalidInput,
                fmt::format("{}: '*' and '?' may stand in the files' name only", uri),
                "name one directory");
  }
  if (result.directory.empty()) {
    return fail(ErrorCode::kInvalidInput,
                fmt::format("{} names no directory", uri),
                "write tfrecord:DIR or tfrecord:DIR/train-*.tfrecord");
  }
  return result;
}

std::string ShardName::group() const {
  // What joins name and number is no part of either.
  std::string_view stem = before;
  if (count > 0 && stem.ends_with('-')) stem.remove_suffix(1);
  return std::string(stem) + after;
}

ShardName parse_shard_name(std::string_view name) {
  ShardName whole{.before = std::string(name)};
  const size_t of = name.rfind("-of-");
  if (of == std::string_view::npos) return whole;
  size_t begin = of;
  while (begin > 0 && is_digit(name[begin - 1])) --begin;
  size_t end = of + 4;
  while (end < name.size() && is_digit(name[end])) ++end;
  const size_t number_digits = of - begin;
  const size_t count_digits = end - of - 4;
  if (number_digits == 0 || count_digits == 0 || number_digits > kMaxDigits ||
      count_digits > kMaxDigits) {
    return whole;
  }
  ShardName parts{.before = std::string(name.substr(0, begin)),
                  .after = std::string(name.substr(end)),
                  .number = std::stoul(std::string(name.substr(begin, number_digits))),
                  .count = std::stoul(std::string(name.substr(of + 4, count_digits))),
                  .digits = number_digits};
  return parts.number < parts.count ? parts : whole;
}

std::string shard_name(std::string_view split, size_t number, size_t count) {
  return fmt::format("{}-{:05}-of-{:05}.tfrecord", split, number, count);
}

bool matches_wildcards(std::string_view pattern, std::string_view name) {
  // On a mismatch the last '*' takes one character more; earlier ones need not be tried again.
  size_t p = 0;
  size_t n = 0;
  size_t star = std::string_view::npos;
  size_t taken = 0;
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      taken = n;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == name[n])) {
      ++p;
      ++n;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      n = ++taken;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

Result<TfrecordShards> find_tfrecord_shards(storage::ObjectStore& store,
                                            std::string_view pattern,
                                            Split split,
                                            PatternMeans means) {
  const auto files = ATOLL_TRY(list_shards(store, folder_of_pattern(pattern)));
  const Groups candidates = groups_of(files, pattern);
  if (candidates.empty()) {
    return fail(pattern.empty() ? ErrorCode::kNotFound : ErrorCode::kInvalidInput,
                pattern.empty() ? fmt::format("{}: there are no TFRecords", store.uri())
                                : fmt::format("{}: no file is called {}", store.uri(), pattern),
                pattern.empty() ? fmt::format("they end in {}, or are numbered like {}",
                                              fmt::join(kEndings, ", "),
                                              shard_name("train", 0, 256))
                                : "check the path; in a shell, put quotes around wildcards");
  }
  if (means == PatternMeans::kSplit) return in_order(candidates, pattern, store.uri());

  const Split other = split == Split::kTrain ? Split::kVal : Split::kTrain;
  const Groups of_other = of_split(candidates, other);
  Groups chosen = of_split(candidates, split);
  std::string_view own_pattern = pattern;
  std::string note;
  if (chosen.empty() && !of_other.empty()) {
    if (means == PatternMeans::kDataset) chosen = siblings(groups_of(files, ""), of_other, split);
    own_pattern = "";
    if (chosen.empty()) {
      return fail(
          ErrorCode::kNotFound,
          fmt::format(
              "{}: no {} records beside {}", store.uri(), name_of(split), names_of(of_other)),
          fmt::format("call them like {}", shard_name("val", 0, 8)));
    }
  } else if (chosen.empty()) {
    chosen = of_split(candidates, std::nullopt);
    note = fmt::format(
        "{}: {} names no split and serves for training and for validation, so the validation "
        "numbers are those of images that were trained on",
        store.uri(),
        names_of(chosen));
  }
  if (chosen.size() > 1 && pattern.empty()) {
    return fail(
        ErrorCode::kInvalidInput,
        fmt::format(
            "{}: several sets of {} records: {}", store.uri(), name_of(split), names_of(chosen)),
        "name those that you mean, as tfrecord:DIR/train-*.tfrecord");
  }
  TfrecordShards result = ATOLL_TRY(in_order(chosen, own_pattern, store.uri()));
  result.note = std::move(note);
  return result;
}

}  // namespace atl::dataset
