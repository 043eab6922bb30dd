#include "dataset/validate.h"

#include <fmt/format.h>

#include <algorithm>
#include <mutex>
#include <optional>
#include <unordered_map>

#include "base/parallel.h"
#include "dataset/coco_builder.h"
#include "dataset/image.h"
#include "dataset/validate_records.h"

namespace atl::dataset {
namespace {

using Kind = Problem::Kind;
using Severity = Problem::Severity;

// Orientations 5 to 8 turn by 90 degrees.
bool swaps_sides(int exif_orientation) { return exif_orientation >= 5; }

class Validator {
 public:
  Validator(storage::ObjectStore& store,
            std::string_view annotations_key,
            std::string_view image_prefix,
            const ValidateOptions& options)
      : store_(store),
        annotations_key_(annotations_key),
        image_prefix_(image_prefix),
        options_(options) {}

  Result<ValidationReport> run() {
    ATOLL_TRY(read());
    return check();
  }
  Result<ValidationReport> run(CocoDataset dataset, std::vector<Problem> findings) {
    dataset_ = std::move(dataset);
    report_.findings = std::move(findings);
    return check();
  }

 private:
  Result<ValidationReport> check() {
    if (dataset_.images().empty()) {
      report_.findings.push_back(
          {Severity::kProblem, Kind::kNoImages, annotations_key_, "", "it has no usable image"});
    }
    check_names();
    ATOLL_TRY(check_images());
    check_categories();
    report_.images = static_cast<int64_t>(dataset_.images().size());
    report_.annotations = static_cast<int64_t>(dataset_.annotations().size());
    report_.categories = static_cast<int64_t>(dataset_.categories().size());
    return std::move(report_);
  }

  Result<void> read() {
    const storage::Blob json = ATOLL_TRY(store_.get(annotations_key_));
    CocoBuilder builder([this](std::string_view record, const Error& problem) -> Result<void> {
      report_.findings.push_back({Severity::kProblem,
                                  Kind::kRecord,
                                  annotations_key_,
                                  std::string(record),
                                  problem.to_string()});
      return {};
    });
    ATOLL_TRY_CONTEXT(read_coco_json(json.text(), builder), annotations_key_);
    dataset_ = builder.finish();
    return {};
  }

  void check_names() {
    std::unordered_map<std::string_view, int64_t> seen;
    for (const Image image : dataset_.images()) {
      const auto [first, is_new] = seen.emplace(image.file_name, image.id);
      if (is_new) continue;
      add(report_.findings,
          image,
          Severity::kProblem,
          Kind::kDuplicateFile,
          fmt::format("image {} has the same file", first->second));
    }
  }

  Result<void> check_images() {
    std::vector<std::string> keys;
    keys.reserve(dataset_.images().size());
    for (const Image image : dataset_.images()) {
      if (is_safe_name(image.file_name)) keys.push_back(key_of(image));
    }
    store_.will_need(keys);
    std::vector<std::vector<Problem>> found(dataset_.images().size());
    std::optional<Error> failure;
    std::mutex mutex;
    int64_t done = 0;
    parallel_for(found.size(), options_.threads, 4, [&](size_t begin, size_t end) {
      for (size_t i = begin; i < end; ++i) {
        {
          const std::lock_guard lock(mutex);
          if (failure) return;
        }
        const auto checked = check_image(i, found[i]);
        const std::lock_guard lock(mutex);
        if (!checked && !failure) failure = checked.error();
        ++done;
        if (options_.progress) options_.progress(done, static_cast<int64_t>(found.size()));
      }
    });
    if (failure) return tl::unexpected(std::move(*failure));
    for (auto& problems : found) {
      std::move(problems.begin(), problems.end(), std::back_inserter(report_.findings));
    }
    return {};
  }

  // Errors only where the store fails.
  Result<void> check_image(size_t index, std::vector<Problem>& found) const {
    const Image& image = dataset_.images()[index];
    ATOLL_TRY(check_file(image, found));
    if (dataset_.annotations_of(index).empty()) {
      add(found, image, Severity::kInfo, Kind::kEmptyImage, "no objects");
    }
    for (Problem& problem : check_objects(dataset_, index, key_of(image))) {
      found.push_back(std::move(problem));
    }
    return {};
  }

  Result<void> check_file(const Image& image, std::vector<Problem>& found) const {
    if (!is_safe_name(image.file_name)) {
      add(found,
          image,
          Severity::kProblem,
          Kind::kUnsafeName,
          "'file_name' must be a path below the images' folder");
      return {};
    }
    const auto file = store_.get(key_of(image));
    if (!file) {
      // An odd name that the store refuses is as good as not there.
      const ErrorCode code = file.error().code;
      if (code != ErrorCode::kNotFound && code != ErrorCode::kInvalidInput) {
        return tl::unexpected(file.error());
      }
      add(found, image, Severity::kProblem, Kind::kMissingFile, "the file is not there");
      return {};
    }
    check_picture(image, file->bytes(), found);
    return {};
  }

  void check_picture(const Image& image,
                     std::span<const std::byte> bytes,
                     std::vector<Problem>& found) const {
    const auto header = read_image_header(bytes);
    if (!header) {
      add(found, image, Severity::kProblem, Kind::kUnreadable, header.error().to_string());
      return;
    }
    const ImageSize expected{image.width, image.height};
    const int orientation = header->exif_orientation;
    const ImageSize turned = swaps_sides(orientation)
                                 ? ImageSize{header->stored.height, header->stored.width}
                                 : header->stored;
    if (header->stored != expected && turned != expected) {
      add(found,
          image,
          Severity::kProblem,
          Kind::kSizeMismatch,
          fmt::format("the file is {} x {}, the JSON has {} x {}",
                      header->stored.width,
                      header->stored.height,
                      expected.width,
                      expected.height));
    } else if (orientation != 1) {
      add(found,
          image,
          Severity::kInfo,
          Kind::kExif,
          fmt::format("EXIF orientation {} {}",
                      orientation,
                      header->stored == expected ? "is not applied: the JSON has the size as stored"
                                                 : "is applied: only so it has the JSON's size"));
    }
    if (!options_.decode) return;
    // Any size is accepted here; a wrong one has been reported above.
    if (const auto picture = decode_image(bytes); !picture) {
      add(found, image, Severity::kProblem, Kind::kUnreadable, picture.error().to_string());
    }
  }

  void check_categories() {
    for (const Category& category : dataset_.categories()) {
      const auto all = dataset_.annotations();
      if (std::any_of(all.begin(), all.end(), [&](const Annotation& annotation) {
            return annotation.category_id == category.id;
          })) {
        continue;
      }
      report_.findings.push_back({Severity::kInfo,
                                  Kind::kUnusedCategory,
                                  annotations_key_,
                                  fmt::format("category {}", category.id),
                                  fmt::format("no objects of '{}'", category.name)});
    }
  }

  std::string key_of(const Image& image) const {
    return fmt::format("{}{}", image_prefix_, image.file_name);
  }

  void add(std::vector<Problem>& found,
           const Image& image,
           Severity severity,
           Kind kind,
           std::string message) const {
    found.push_back(
        {severity, kind, key_of(image), fmt::format("image {}", image.id), std::move(message)});
  }

  storage::ObjectStore& store_;
  std::string annotations_key_;
  std::string image_prefix_;
  const ValidateOptions& options_;
  CocoDataset dataset_;
  ValidationReport report_;
};

}  // namespace

std::string_view problem_kind_name(Kind kind) {
  switch (kind) {
    case Kind::kRecord:
      return "bad-record";
    case Kind::kNoImages:
      return "no-images";
    case Kind::kUnsafeName:
      return "unsafe-name";
    case Kind::kDuplicateFile:
      return "duplicate-file";
    case Kind::kMissingFile:
      return "missing-file";
    case Kind::kUnreadable:
      return "unreadable";
    case Kind::kSizeMismatch:
      return "size-mismatch";
    case Kind::kOutside:
      return "outside";
    case Kind::kZeroArea:
      return "zero-area";
    case Kind::kBoxMismatch:
      return "box-mismatch";
    case Kind::kAreaMismatch:
      return "area-mismatch";
    case Kind::kExif:
      return "exif";
    case Kind::kEmptyImage:
      return "empty-image";
    case Kind::kUnusedCategory:
      return "unused-category";
  }
  return "";
}

int64_t ValidationReport::count(Severity severity) const {
  return std::count_if(findings.begin(), findings.end(), [&](const Problem& problem) {
    return problem.severity == severity;
  });
}

Result<ValidationReport> validate(storage::ObjectStore& store,
                                  std::string_view annotations_key,
                                  std::string_view image_prefix,
                                  const ValidateOptions& options) {
  return Validator(store, annotations_key, image_prefix, options).run();
}

Result<ValidationReport> validate(storage::ObjectStore& store,
                                  CocoDataset dataset,
                                  std::vector<Problem> findings,
                                  std::string_view name,
                                  const ValidateOptions& options) {
  return Validator(store, name, "", options).run(std::move(dataset), std::move(findings));
}

}  // namespace atl::dataset
