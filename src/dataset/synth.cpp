#include "dataset/synth.h"

#include <fmt/format.h>

#include <atomic>
#include <mutex>
#include <optional>

#include "base/parallel.h"

namespace atl::dataset {
namespace {

constexpr int kJpegQuality = 92;
constexpr size_t kImagesAtATime = 4;

std::string file_name(int64_t index) { return fmt::format("{:012}.jpg", index); }

// Makes and writes the images of one split; returns their annotations by image.
class SplitWriter {
 public:
  SplitWriter(storage::ObjectStore& store, const SynthOptions& options, Split split, int64_t count)
      : store_(store),
        options_(options),
        split_(split),
        objects_(static_cast<size_t>(count)),
        name_(split == Split::kTrain ? "train2017" : "val2017") {}

  Result<void> write(int64_t done_before) {
    done_ = done_before;
    parallel_for(objects_.size(), options_.threads, kImagesAtATime, [&](size_t begin, size_t end) {
      for (size_t i = begin; i < end; ++i) {
        if (has_failed_) return;
        auto written = write_image(i);
        note(written);
      }
    });
    if (failure_) return tl::unexpected(std::move(*failure_));
    return write_annotations();
  }

 private:
  Result<void> write_image(size_t index) {
    SynthImage image =
        synth_image(options_.seed, split_, static_cast<int64_t>(index), options_.size_px);
    objects_[index] = std::move(image.objects);
    const auto jpeg = ATOLL_TRY(encode_jpeg(image.picture, kJpegQuality));
    const std::span<const std::byte> part = jpeg;
    return store_.put(fmt::format("{}/{}", name_, file_name(static_cast<int64_t>(index))),
                      std::span(&part, 1));
  }

  void note(Result<void>& written) {
    const std::lock_guard lock(mutex_);
    if (!written) {
      if (!failure_) failure_ = std::move(written).error();
      has_failed_ = true;
      return;
    }
    ++done_;
    if (options_.progress) options_.progress(done_, options_.train_images + options_.val_images);
  }

  Result<void> write_annotations() {
    CocoBuilder builder;
    for (Category& category : synth_categories()) {
      ATOLL_TRY(builder.add_category(std::move(category)));
    }
    int64_t annotation_id = 1;
    for (size_t i = 0; i < objects_.size(); ++i) {
      const auto id = static_cast<int64_t>(i);
      ATOLL_TRY(builder.add_image({.id = id,
                                   .width = options_.size_px,
                                   .height = options_.size_px,
                                   .file_name = file_name(id)}));
    }
    for (size_t i = 0; i < objects_.size(); ++i) {
      for (AnnotationRecord& object : objects_[i]) {
        object.id = annotation_id++;
        object.image_id = static_cast<int64_t>(i);
        ATOLL_TRY(builder.add_annotation(object));
      }
    }
    return storage::put_text(
        store_, fmt::format("annotations/instances_{}.json", name_), to_json(builder.finish()));
  }

  storage::ObjectStore& store_;
  const SynthOptions& options_;
  Split split_;
  std::vector<std::vector<AnnotationRecord>> objects_;
  std::string name_;
  std::mutex mutex_;
  std::atomic<bool> has_failed_ = false;
  std::optional<Error> failure_;
  int64_t done_ = 0;
};

}  // namespace

Result<void> synthesise(storage::ObjectStore& store, const SynthOptions& options) {
  if (options.size_px < 32 || options.size_px > 4096) {
    return fail(ErrorCode::kInvalidInput,
                fmt::format("a picture size of {} px", options.size_px),
                "choose 32 to 4096");
  }
  if (options.train_images < 0 || options.val_images < 0 ||
      options.train_images + options.val_images == 0) {
    return fail(
        ErrorCode::kInvalidInput,
        fmt::format(
            "{} training and {} validation images", options.train_images, options.val_images),
        "ask for at least one image");
  }
  int64_t done = 0;
  for (const auto& [split, count] : {std::pair{Split::kTrain, options.train_images},
                                     std::pair{Split::kVal, options.val_images}}) {
    if (count == 0) continue;
    ATOLL_TRY_CONTEXT(SplitWriter(store, options, split, count).write(done),
                      "generating the dataset");
    done += count;
  }
  return {};
}

}  // namespace atl::dataset
