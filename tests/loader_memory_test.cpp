// The loader's memory: flat over epochs, and nothing of a picture's size allocated for a batch. In a
// program of its own, because it counts every allocation and the pages of the whole process.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <condition_variable>
#include <cstdlib>
#include <fstream>
#include <map>
#include <mutex>
#include <new>

#include "dataset/coco_builder.h"
#include "dataset/loader.h"
#include "storage/fake_store.h"

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
    return files_.find(key)->second;
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
  std::mutex mutex_;
  std::condition_variable asked_;
  int64_t gets_ = 0;
};

class LoaderMemory : public testing::Test {
 protected:
  void SetUp() override {
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
  static void epochs(Loader& loader, int count) {
    for (int64_t step = 0; step < count * kBatches; ++step) {
      const auto batch = loader.next();
      ASSERT_TRUE(batch && *batch);
      ASSERT_EQ((*batch)->samples.size(), size_t{kBatch});
      ASSERT_EQ((*batch)->samples[0].masks.size(), 1U);
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

  CountingStore store_;
  CocoDataset dataset_;
  LoaderOptions options_;
  std::atomic<int> pixel_blocks_ = 0;
};

TEST_F(LoaderMemory, over_twenty_epochs_resident_memory_grows_by_less_than_a_percent) {
  const auto loader = this->loader(30);
  first_epoch(*loader);
  epochs(*loader, 1);
  const auto before = static_cast<double>(resident_kb());
  ASSERT_GT(before, 2000);
  epochs(*loader, 20);
  EXPECT_LT(static_cast<double>(resident_kb()), before * 1.01);
}

TEST_F(LoaderMemory, no_batch_allocates_anything_of_a_pictures_size) {
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

}  // namespace
}  // namespace atl::dataset
