// The loader's memory: flat over epochs, and nothing of a picture's size allocated for a batch; with pictures in memory
// and on disk, and with the augmentations that make pictures of changing sizes. In a program of its own, because it
// counts every allocation and the pages of the whole process.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <malloc.h>
#include <stdlib.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <condition_variable>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <new>
#include <optional>
#include <vector>

#include "dataset/coco_builder.h"
#include "dataset/loader.h"
#include "storage/fake_store.h"
#include "storage/local_store.h"

namespace {

// Smaller than any buffer of pixels here, larger than any file.
constexpr size_t kLarge = size_t{24} << 10;
std::atomic<int64_t> large_allocations = 0;

void* counted(size_t bytes) {
  if (bytes >= kLarge) ++large_allocations;
  void* memory = std::malloc(bytes);  // NOLINT(cppcoreguidelines-no-malloc)
  if (memory == nullptr) std::abort();
  return memory;
}

}  // namespace

void* operator new(size_t bytes) { return counted(bytes); }
void* operator new[](size_t bytes) { return counted(bytes); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, size_t) noexcept { std::free(memory); }

namespace atl::dataset {
namespace {

constexpr int64_t kImages = 24;
constexpr int64_t kBatch = 3;
constexpr int64_t kBatches = kImages / kBatch;
constexpr int kAhead = 3;

// Lets the caller wait until the loader has run ahead as far as it may. (The fake itself keeps a
// record of its calls, which grows.)
class CountingStore : public storage::FakeStore {
 public:
  Result<storage::Blob> get(std::string_view key) override {
    {
      const std::lock_guard lock(mutex_);
      ++gets_;
    }
    asked_.notify_all();
    return disk_ ? disk_->get(key) : Result<storage::Blob>(files_.find(key)->second);
  }
  // From now on pictures are read from there.
  void move_to(const std::string& folder) {
    disk_.emplace(folder);
    for (const auto& [name, blob] : files_) {
      const auto bytes = blob.bytes();
      ASSERT_TRUE(disk_->put(name, {&bytes, 1}));
    }
    files_.clear();
  }
  void add(std::string name, std::vector<std::byte> bytes) {
    files_.emplace(std::move(name), storage::Blob(std::move(bytes)));
  }
  void wait_for(int64_t gets) {
    std::unique_lock lock(mutex_);
    asked_.wait(lock, [&] { return gets_ >= gets; });
  }

 private:
  std::map<std::string, storage::Blob, std::less<>> files_;
  std::optional<storage::LocalStore> disk_;
  std::mutex mutex_;
  std::condition_variable asked_;
  int64_t gets_ = 0;
};

struct Case {
  std::string name;
  bool on_disk = false;
  int lsj_size_px = 0;
  double copy_paste_probability = 0;
};

class LoaderMemory : public testing::TestWithParam<Case> {
 protected:
  ~LoaderMemory() override {
    if (!folder_.empty()) std::filesystem::remove_all(folder_);
  }

  void SetUp() override {
    // What an earlier test has left free would hide growth.
    ::malloc_trim(0);
    CocoBuilder builder;
    ASSERT_TRUE(builder.add_category({1, "thing", ""}));
    for (int64_t i = 0; i < kImages; ++i) {
      const std::string name = fmt::format("{}.jpg", i);
      Picture picture{160, 120, {}};
      for (int p = 0; p < 160 * 120 * 3; ++p) {
        picture.rgb.push_back(
            static_cast<uint8_t>(128 + 100 * std::sin(static_cast<double>(p + i * 40) * 0.002)));
      }
      ASSERT_TRUE(builder.add_image({i, 160, 120, name}));
      auto file = encode_jpeg(picture).value();
      ASSERT_LT(file.size(), kLarge);
      store_.add(name, std::move(file));
      AnnotationRecord record;
      record.id = i + 1;
      record.image_id = i;
      record.category_id = 1;
      record.box = {10, 10, 60, 60};
      record.area = 3600;
      record.kind = SegmentationKind::kPolygons;
      record.coordinates = {10, 10, 70, 10, 70, 70, 40, 30, 10, 70};
      record.polygon_lengths = {record.coordinates.size()};
      ASSERT_TRUE(builder.add_annotation(record));
    }
    dataset_ = builder.finish();
    if (GetParam().on_disk) {
      std::string name = (std::filesystem::temp_directory_path() / "atoll-loader-XXXXXX").string();
      folder_ = ::mkdtemp(name.data());
      store_.move_to(folder_);
    }
    options_.augment.lsj_size_px = GetParam().lsj_size_px;
    options_.augment.copy_paste_probability = GetParam().copy_paste_probability;
    options_.min_size_px = 200;
    options_.max_size_px = 400;
    options_.batches_ahead = kAhead;
    options_.threads = 1;  // of several, one might begin late, and with it its buffers
    options_.pixel_memory = [this](size_t bytes) {
      ++pixel_blocks_;
      return ordinary_pixel_memory(bytes);
    };
  }

  std::unique_ptr<Loader> loader(int64_t epochs) {
    return std::make_unique<Loader>(
        dataset_,
        store_,
        "",
        options_,
        [epochs](int64_t step) -> std::optional<std::vector<int64_t>> {
          if (step >= epochs * kBatches) return std::nullopt;
          const int64_t first = step % kBatches * kBatch;
          return std::vector<int64_t>{first, first + 1, first + 2};
        },
        [](int64_t step) { return step / kBatches; });
  }
  // Holds each batch until as much of the next ones is begun as may be: never is more in use.
  void first_epoch(Loader& loader) {
    for (int64_t step = 0; step < kBatches; ++step) {
      const auto batch = loader.next();
      ASSERT_TRUE(batch && *batch);
      store_.wait_for((step + 1 + kAhead) * kBatch);
    }
  }
  bool is_augmented() const { return options_.augment != AugmentOptions(); }
  void epochs(Loader& loader, int count) {
    for (int64_t step = 0; step < count * kBatches; ++step) {
      const auto batch = loader.next();
      ASSERT_TRUE(batch && *batch);
      ASSERT_EQ((*batch)->samples.size(), size_t{kBatch});
      for (const Sample& sample : (*batch)->samples) objects_ += sample.masks.size();
    }
  }
  // Counted, and not from statm, to which each thread and processor adds its pages some dozens at a time.
  static int64_t resident_kb() {
    std::ifstream file("/proc/self/smaps_rollup");
    for (std::string word; file >> word;) {
      int64_t value = 0;
      if (word == "Rss:" && file >> value) return value;
    }
    return 0;
  }

  std::string folder_;  // "": the pictures are in memory
  size_t objects_ = 0;  // in all batches
  CountingStore store_;
  CocoDataset dataset_;
  LoaderOptions options_;
  std::atomic<int> pixel_blocks_ = 0;
};

TEST_P(LoaderMemory, over_twenty_epochs_resident_memory_grows_by_less_than_a_percent) {
  constexpr int kWarmUp = 10;
  constexpr int kWindow = 20;
  // Buffers grow to the largest of what is drawn. Of what is not augmented that has been seen by the second epoch; with the
  // rest it may come late, for it depends on which thread draws it, but what leaks grows in each of the windows.
  const int windows = is_augmented() ? 4 : 1;
  const int warm_up = is_augmented() ? kWarmUp : 1;
  const auto loader = this->loader(1 + warm_up + windows * kWindow + kAhead);
  first_epoch(*loader);
  epochs(*loader, warm_up);
  std::vector<double> growths;
  for (int window = 0; window < windows; ++window) {
    const auto before = static_cast<double>(resident_kb());
    ASSERT_GT(before, 2000);
    epochs(*loader, kWindow);
    growths.push_back(static_cast<double>(resident_kb()) / before);
  }
  EXPECT_LT(*std::ranges::min_element(growths), 1.01);
  // It was at work: an object an image, fewer where the jitter cuts them off, more where some are pasted.
  const auto images = static_cast<size_t>((warm_up + windows * kWindow) * kImages);
  if (GetParam().copy_paste_probability > 0) {
    EXPECT_GT(objects_, images);
  } else if (GetParam().lsj_size_px > 0) {
    EXPECT_LT(objects_, images);
  } else {
    EXPECT_EQ(objects_, images);
  }
}

// Where pictures are augmented, buffers grow now and then with what is drawn.
class PlainLoaderMemory : public LoaderMemory {};

TEST_P(PlainLoaderMemory, no_batch_allocates_anything_of_a_pictures_size) {
  const auto loader = this->loader(30);
  first_epoch(*loader);
  EXPECT_EQ(pixel_blocks_, kAhead + 1);
  large_allocations = 0;
  epochs(*loader, 20);
  EXPECT_EQ(large_allocations, 0);
  EXPECT_EQ(pixel_blocks_, kAhead + 1);
  // The counter counts.
  const std::vector<char> large(kLarge);
  EXPECT_EQ(large_allocations, 1);
}

const Case kInMemory{"in_memory"};
const Case kOnDisk{"on_disk", true};
std::string name_of(const testing::TestParamInfo<Case>& tested) { return tested.param.name; }

INSTANTIATE_TEST_SUITE_P(Pictures,
                         LoaderMemory,
                         testing::Values(kInMemory,
                                         kOnDisk,
                                         Case{"lsj_on_disk", true, 200, 0},
                                         Case{"copy_paste_on_disk", true, 0, 0.5},
                                         Case{"lsj_and_copy_paste_on_disk", true, 200, 0.5}),
                         name_of);
INSTANTIATE_TEST_SUITE_P(Pictures, PlainLoaderMemory, testing::Values(kInMemory, kOnDisk), name_of);

}  // namespace
}  // namespace atl::dataset
