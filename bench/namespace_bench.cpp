// How fast the namespace takes a bucket in, and answers; one JSON line.
//
//   namespace_bench KEYS flat|tree [LATENCY_MS]
//
// The bucket makes its pages up: KEYS keys in one directory, or 1,000 to a directory; each LIST takes
// LATENCY_MS (0). ls_lR lists every directory and looks every entry up, as `ls -lR` does, once before
// anything was imported and once after it.
#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <string>
#include <thread>

#include "storage/namespace/namespace.h"

namespace {

using namespace atl;           // NOLINT
using namespace atl::storage;  // NOLINT

class MadeUpBucket : public Remote {
 public:
  MadeUpBucket(uint64_t keys, bool tree, std::chrono::milliseconds latency)
      : keys_(keys), tree_(tree), latency_(latency) {}

  std::string key(uint64_t i) const {
    return tree_ ? fmt::format("train/{:06}/{:012}.jpg", i / 1000, i)
                 : fmt::format("train/{:012}.jpg", i);
  }
  std::atomic<uint64_t> lists = 0;

  std::string uri() const override { return "made-up:"; }
  std::string identity() const override { return "made-up"; }
  void read_async(RangeRequest, OnRange done) override { done(none()); }
  Result<RemoteObject> stat(std::string_view) override { return none(); }
  Result<ListPage> list_page(std::string_view prefix,
                             std::string_view,
                             std::string_view start_after) override {
    ++lists;
    std::this_thread::sleep_for(latency_);
    uint64_t first = 0;  // the first key that is greater
    for (uint64_t past = keys_; first < past;) {
      const uint64_t middle = (first + past) / 2;
      const std::string at = key(middle);
      (at <= start_after || at < prefix ? first : past) =
          at <= start_after || at < prefix ? middle + 1 : middle;
    }
    ListPage page;
    for (; first < keys_; ++first) {
      std::string at = key(first);
      if (!std::string_view(at).starts_with(prefix)) break;
      if (page.objects.size() == 1000) {
        page.next = page.objects.back().key;
        break;
      }
      page.objects.push_back(
          {std::move(at),
           150'000 + first,
           std::chrono::system_clock::time_point(std::chrono::seconds(1'700'000'000 + first)),
           fmt::format("\"{:032x}\"", first * 0x9e3779b97f4a7c15U)});
    }
    return page;
  }
  Result<ObjectInfo> upload(std::string_view, const UploadSource&, const UploadOptions&) override {
    return none();
  }
  Result<ObjectInfo> copy(
      std::string_view, std::string_view, const Metadata&, std::string_view, bool*) override {
    return none();
  }
  Result<void> remove(std::span<const std::string>, bool*) override { return none(); }

 private:
  static tl::unexpected<Error> none() { return fail(ErrorCode::kUnsupported, "only listed"); }

  const uint64_t keys_;
  const bool tree_;
  const std::chrono::milliseconds latency_;
};

struct Taken {
  double seconds = 0;
  double cpu_seconds = 0;
};

template <typename Result>
void must(const Result& result) {
  if (result) return;
  std::fprintf(stderr, "%s\n", result.error().to_string().c_str());
  std::exit(1);
}

Taken measure(const std::function<void()>& work) {
  const auto cpu = [] {
    struct rusage usage {};
    ::getrusage(RUSAGE_SELF, &usage);
    const auto of = [](const timeval& t) {
      return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
    };
    return of(usage.ru_utime) + of(usage.ru_stime);
  };
  const auto begin = std::chrono::steady_clock::now();
  const double cpu_begin = cpu();
  work();
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
  return {taken.count(), cpu() - cpu_begin};
}

uint64_t ls_lr(Namespace& names, const std::string& directory) {
  std::vector<std::string> below;
  uint64_t count = 0;
  must(names.children(directory, {}, [&](const DirectoryEntry& entry) {
    const std::string path = directory.empty() ? entry.name : directory + "/" + entry.name;
    must(names.lookup_path(path));
    ++count;
    if (entry.is_directory) below.push_back(path);
    return true;
  }));
  for (const auto& path : below) count += ls_lr(names, path);
  return count;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: namespace_bench KEYS flat|tree [LATENCY_MS]\n");
    return 2;
  }
  const uint64_t keys = std::strtoull(argv[1], nullptr, 10);
  const std::chrono::milliseconds latency(argc > 3 ? std::atoi(argv[3]) : 0);
  const auto bucket = std::make_shared<MadeUpBucket>(keys, std::string(argv[2]) == "tree", latency);
  std::string folder = (std::filesystem::temp_directory_path() / "namespace-bench-XXXXXX").string();
  if (::mkdtemp(folder.data()) == nullptr) return 1;

  const auto open = [&](const std::string& name) {
    NamespaceOptions options;
    options.directory = folder + "/" + name;
    options.max_age = std::chrono::hours(1);
    auto names = Namespace::open(bucket, options);
    must(names);
    return *names;
  };
  std::string line = fmt::format(
      R"({{"keys": {}, "layout": "{}", "latency_ms": {})", keys, argv[2], latency.count());
  const auto add = [&](std::string_view name, const Taken& taken, uint64_t requests) {
    line += fmt::format(R"(, "{0}_s": {1:.3f}, "{0}_cpu_s": {2:.3f}, "{0}_lists": {3})",
                        name,
                        taken.seconds,
                        taken.cpu_seconds,
                        requests);
  };
  const auto step = [&](std::string_view name, const std::function<void()>& work) {
    const uint64_t before = bucket->lists;
    const auto taken = measure(work);
    add(name, taken, bucket->lists - before);
  };
  step("lists_alone", [&] {
    std::string after;
    for (bool more = true; more;) {
      const auto page = *bucket->list_page({}, {}, after);
      more = !page.next.empty();
      if (more) after = page.objects.back().key;
    }
  });
  {
    auto names = open("by_ls");
    step("first_ls_lR", [&] { ls_lr(*names, ""); });
    step("second_ls_lR", [&] { ls_lr(*names, ""); });
  }
  auto names = open("by_import");
  step("import", [&] { must(names->import({}, {}, {}, {})); });
  step("second_import", [&] { must(names->import({}, {}, {}, {})); });
  step("list", [&] { must(names->list("", [](const ObjectInfo&) { return true; })); });
  step("lookups_100k", [&] {
    for (uint64_t i = 0; i < 100'000; ++i) must(names->lookup(bucket->key(i * 7919 % keys)));
  });
  step("children",
       [&] { must(names->children("train", {}, [](const DirectoryEntry&) { return true; })); });
  uint64_t bytes = 0;
  for (const auto& file : std::filesystem::directory_iterator(folder + "/by_import")) {
    if (file.path().extension() == ".db") bytes = file.file_size();
  }
  std::printf("%s, \"database_bytes\": %llu}\n",
              line.c_str(),
              static_cast<unsigned long long>(bytes));  // NOLINT(google-runtime-int)
  names.reset();
  std::filesystem::remove_all(folder);
  return 0;
}
