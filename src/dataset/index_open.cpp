// Finding, choosing and making index files.
#include <fmt/format.h>

#include "base/parallel.h"
#include "dataset/coco_builder.h"
#include "dataset/index.h"
#include "dataset/index_cache.h"
#include "storage/local_store.h"

namespace atl::dataset {
namespace {

using internal::cached_index_stem;
using internal::has_lasting_etags;
using internal::nanoseconds;
using storage::Blob;
using storage::ObjectInfo;
using storage::ObjectStore;
using Clock = std::chrono::steady_clock;

std::string name_of(const ObjectStore& store, std::string_view key) {
  return fmt::format("{}/{}", store.uri(), key);
}

// A note for the user about an index that cannot be used; one that is not there is none.
void note(const OpenAnnotationsOptions& options, const Error& error) {
  if (options.note && error.code != ErrorCode::kNotFound) options.note(error.to_string());
}

// The index, if there is one that was made from the JSON as it is now. A JSON of another time may
// be a copy: its bytes decide, unless the index's very name says which version it is of.
std::optional<CocoDataset> open_if_valid(ObjectStore& index_store,
                                         std::string_view index_key,
                                         ObjectStore& json_store,
                                         const ObjectInfo& json,
                                         bool named_by_version,
                                         const OpenAnnotationsOptions& options) {
  const std::string name = name_of(index_store, index_key);
  auto blob = index_store.get(index_key);
  if (!blob) {
    note(options, blob.error());
    return std::nullopt;
  }
  auto opened = open_index(std::move(*blob), name);
  if (!opened) {
    note(options, opened.error());
    return std::nullopt;
  }
  const IndexSource& source = opened->source;
  bool same = !opened->records && source.size_bytes == json.size_bytes;
  if (same && !named_by_version && source.modified_ns != nanoseconds(json)) {
    const auto text = json_store.get(json.key);
    same = text && hash_of(text->text()) == source.hash;
  }
  if (same) return std::move(opened->dataset);
  if (options.note) {
    options.note(fmt::format(
        "{} is not used: the JSON has changed (atoll data index makes it again)", name));
  }
  return std::nullopt;
}

// At once: a bucket takes a while to answer.
std::pair<Result<ObjectInfo>, Result<ObjectInfo>> head_both(ObjectStore& store,
                                                            std::string_view first,
                                                            std::string_view second) {
  std::pair<Result<ObjectInfo>, Result<ObjectInfo>> infos;
  parallel_for(2, 2, 1, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) {
      (i == 0 ? infos.first : infos.second) = store.head(i == 0 ? first : second);
    }
  });
  return infos;
}

Result<CocoDataset> parse(std::string_view text,
                          std::string_view name,
                          CocoDataset::Mode mode,
                          const JsonOptions& options) {
  CocoBuilder builder(mode);
  ATOLL_TRY_CONTEXT(read_coco_json(text, builder, options), name);
  return builder.finish();
}

}  // namespace

std::string cached_index_key(const ObjectStore& store, const ObjectInfo& json) {
  std::string key = cached_index_stem(store, json.key);
  if (has_lasting_etags(store)) key += fmt::format("-{:016x}", hash_of(json.etag));
  return key.append(kIndexSuffix);
}

Result<CocoDataset> open_annotations(ObjectStore& store,
                                     std::string_view key,
                                     const OpenAnnotationsOptions& options) {
  const std::string name = name_of(store, key);
  const std::string beside = fmt::format("{}{}", key, kIndexSuffix);
  auto [found_json, found_index] = head_both(store, key, beside);
  const ObjectInfo info = ATOLL_TRY_CONTEXT(std::move(found_json), "reading annotations");
  if (found_index) {
    if (auto found = open_if_valid(store, beside, store, info, false, options)) {
      return std::move(*found);
    }
  } else {
    note(options, found_index.error());
  }

  const bool cached = !options.cache_folder.empty() && info.size_bytes >= options.index_from_bytes;
  std::optional<storage::LocalStore> cache;
  std::string cache_key;
  const bool by_version = has_lasting_etags(store);
  // What the cache holds of an older JSON is no news.
  OpenAnnotationsOptions silent = options;
  silent.note = nullptr;
  if (cached) {
    cache.emplace(options.cache_folder);
    cache_key = cached_index_key(store, info);
    if (auto found = open_if_valid(*cache, cache_key, store, info, by_version, silent)) {
      return std::move(*found);
    }
  }

  const Blob json = ATOLL_TRY_CONTEXT(store.get(key), "reading annotations");
  auto dataset = ATOLL_TRY(parse(json.text(), name, options.mode, {.threads = options.threads}));
  if (!cached || dataset.issue_count() > 0) return dataset;
  // A JSON that changes while it is read gives an index that belongs to neither.
  const auto again = store.head(key);
  if (!again || again->etag != info.etag || json.size() != info.size_bytes) return dataset;
  const IndexSource source{info.size_bytes, nanoseconds(info), hash_of(json.text())};
  if (const auto written = write_index(dataset, source, *cache, cache_key); !written) {
    if (options.note) options.note(written.error().to_string());
    return dataset;
  }
  if (by_version) {
    internal::remove_older_indexes(*cache, cached_index_stem(store, key), cache_key);
  }
  auto mapped = open_if_valid(*cache, cache_key, store, info, by_version, options);
  return mapped ? std::move(*mapped) : std::move(dataset);
}

Result<IndexBuild> build_index(ObjectStore& store,
                               std::string_view key,
                               ObjectStore& index_store,
                               std::string_view index_key,
                               const IndexBuildOptions& options) {
  const auto begin = Clock::now();
  const ObjectInfo info = ATOLL_TRY_CONTEXT(store.head(key), "reading annotations");
  const Blob json = ATOLL_TRY_CONTEXT(store.get(key), "reading annotations");
  const IndexSource source{json.size(), nanoseconds(info), hash_of(json.text())};
  IndexBuild build{.json_bytes = json.size()};

  const std::string index_name = name_of(index_store, index_key);
  if (const auto blob = index_store.get(index_key); blob && verify_index(*blob, index_name)) {
    const auto opened = ATOLL_TRY(open_index(*blob, index_name));
    if (!opened.records && opened.source == source) {
      build.was_valid = true;
      build.index_bytes = blob->size();
      build.images = opened.dataset.images().size();
      build.annotations = opened.dataset.annotations().size();
      build.read_time = Clock::now() - begin;
      return build;
    }
  }
  const auto dataset = ATOLL_TRY(parse(json.text(),
                                       name_of(store, key),
                                       CocoDataset::Mode::kStrict,
                                       {.threads = options.threads, .progress = options.progress}));
  build.read_time = Clock::now() - begin;
  const ObjectInfo after = ATOLL_TRY_CONTEXT(store.head(key), "reading annotations");
  if (after.etag != info.etag) {
    return fail(ErrorCode::kIo,
                fmt::format("{} changed while it was read", name_of(store, key)),
                "start again when it is complete");
  }
  ATOLL_TRY_CONTEXT(write_index(dataset, source, index_store, index_key), "writing the index");
  build.write_time = Clock::now() - begin - build.read_time;
  build.index_bytes = index_size_bytes(dataset);
  build.images = dataset.images().size();
  build.annotations = dataset.annotations().size();
  return build;
}

}  // namespace atl::dataset
