#include "eval/results_file.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"
#include "base/parallel.h"
#include "eval/result_record.h"

namespace atl::eval {
namespace internal {
namespace {

// Category ids below this are looked up in a table.
constexpr int64_t kSmallId = 4096;

const char* const kLenientHint = "--lenient leaves such results out";

Error problem(std::string message, const char* hint) {
  return {ErrorCode::kInvalidInput, std::move(message), hint};
}

}  // namespace

ResultCheck::ResultCheck(const dataset::CocoDataset& ground_truth,
                         BadResults bad_results,
                         bool boxes_lead)
    : ground_truth_(ground_truth), bad_results_(bad_results), boxes_lead_(boxes_lead) {
  small_categories_.assign(kSmallId, ResultRecord::kNoCategory);
  for (uint32_t k = 0; k < ground_truth.categories().size(); ++k) {
    const int64_t id = ground_truth.categories()[k].id;
    if (id >= 0 && id < kSmallId) small_categories_[static_cast<size_t>(id)] = k;
  }
}

std::optional<uint32_t> ResultCheck::image_of(int64_t id) {
  if (last_image_ && id == last_id_) return last_image_;
  const auto index = ground_truth_.image_index(id);
  if (!index) return std::nullopt;
  last_id_ = id;
  last_image_ = static_cast<uint32_t>(*index);
  return last_image_;
}

uint32_t ResultCheck::category_of(int64_t id) const {
  if (id >= 0 && id < kSmallId) return small_categories_[static_cast<size_t>(id)];
  const auto label = ground_truth_.label_of(id);
  return label ? static_cast<uint32_t>(*label - 1) : ResultRecord::kNoCategory;
}

Result<bool> ResultCheck::refuse(
    size_t index, BadReason reason, Error error, BadResultCounts& bad, bool scorable) const {
  const std::string record = fmt::format("record {}", index);
  const bool stays = scorable && bad_results_ == BadResults::kAsPycocotools;
  if (bad_results_ != BadResults::kLeaveOut && !stays) {
    return tl::unexpected(std::move(error).with_context(record));
  }
  BadResultCount& count = bad[static_cast<size_t>(reason)];
  if (count.count++ == 0) count.first = fmt::format("{}: {}", record, error.message);
  return stays;
}

Result<bool> ResultCheck::accept(ResultRecord& record, size_t index, BadResultCounts& bad) {
  const auto image_index = image_of(record.image_id);
  if (!image_index) {
    return refuse(index,
                  BadReason::kImage,
                  problem(fmt::format("image_id {} is not in the ground truth", record.image_id),
                          "evaluate against the annotations of the same images, or leave such "
                          "results out with --lenient"),
                  bad);
  }
  record.image = *image_index;
  const auto refuse_it = [&](BadReason reason, std::string_view message, bool scorable) {
    return refuse(index,
                  reason,
                  problem(fmt::format("{} (image_id {})", message, record.image_id), kLenientHint),
                  bad,
                  scorable);
  };
  if (boxes_lead_ && !record.has_box) {
    return refuse_it(BadReason::kOther, "it has no bbox, though the first record has one", false);
  }
  if (!record.has_box && !record.has_mask) {
    return refuse_it(BadReason::kOther, "it has neither bbox nor segmentation", false);
  }
  fill_in(record);
  if (record.category == ResultRecord::kNoCategory) {
    return refuse_it(BadReason::kCategory,
                     fmt::format("category_id {} is not in the ground truth", record.category_id),
                     true);
  }
  if (record.box[2] < 0 || record.box[3] < 0) {
    return refuse_it(
        BadReason::kBox,
        fmt::format("bbox is [{}]: a size cannot be negative", fmt::join(record.box, ", ")),
        true);
  }
  const dataset::Image& image = ground_truth_.images()[record.image];
  if (record.has_mask && (record.height != static_cast<uint32_t>(image.height) ||
                          record.width != static_cast<uint32_t>(image.width))) {
    return refuse_it(BadReason::kMask,
                     fmt::format("its mask is {} x {} (height x width), the image {} x {}",
                                 record.height,
                                 record.width,
                                 image.height,
                                 image.width),
                     true);
  }
  return true;
}

void ResultCheck::fill_in(ResultRecord& record) const {
  if (!record.has_box) {
    const MaskExtent& extent = record.extent;
    record.box = {static_cast<double>(extent.left),
                  static_cast<double>(extent.top),
                  static_cast<double>(extent.right - extent.left),
                  static_cast<double>(extent.bottom - extent.top)};
  }
  record.area =
      boxes_lead_ ? record.box[2] * record.box[3] : static_cast<double>(record.extent.area);
  record.category = category_of(record.category_id);
}

namespace {

// What one piece of the file gave.
struct Checked {
  BadResultCounts bad;
  std::optional<Error> error;
};

void check_list(ResultCheck check,
                size_t first_index,
                std::vector<ResultRecord>& records,
                Checked& checked) {
  size_t kept = 0;
  for (size_t i = 0; i < records.size(); ++i) {
    auto stays = check.accept(records[i], first_index + i, checked.bad);
    if (!stays) {
      checked.error = std::move(stays).error();
      return;
    }
    if (!*stays) continue;
    if (kept != i) records[kept] = records[i];
    ++kept;
  }
  records.resize(kept);
}

}  // namespace
}  // namespace internal

using internal::ResultRecord;

namespace {

Detection to_detection(const ResultRecord& record, internal::MaskTextReader& masks) {
  Detection detection;
  detection.image_id = record.image_id;
  detection.category_id = record.category_id;
  detection.score = record.score;
  detection.box = record.box;
  detection.area = record.area;
  if (record.has_mask) {
    const auto counts =
        masks.read(record.counts_text(), record.escaped, record.height, record.width);
    ATOLL_CHECK(counts.has_value()) << record.image_id;
    detection.mask = {record.height, record.width, {counts->begin(), counts->end()}};
  }
  return detection;
}

}  // namespace

ResultsFile::ResultsFile(std::string_view text, std::string_view name, int threads)
    : impl_(new Impl) {
  impl_->text = text;
  impl_->name = name;
  impl_->threads = threads > 0 ? threads : available_cpus();
  if (auto lists = internal::scan_results(text, impl_->threads)) {
    impl_->lists = *std::move(lists);
    impl_->scanned = true;
  }
}

ResultsFile::~ResultsFile() = default;
ResultsFile::ResultsFile(ResultsFile&&) noexcept = default;
ResultsFile& ResultsFile::operator=(ResultsFile&&) noexcept = default;

Result<void> ResultsFile::resolve(const dataset::CocoDataset& ground_truth,
                                  BadResults bad_results) {
  auto& lists = impl_->lists;
  if (!impl_->scanned) {
    auto exact = ATOLL_TRY(
        internal::read_results(impl_->text, impl_->name, ground_truth, bad_results, impl_->bad));
    lists.clear();
    lists.push_back(std::move(exact.records));
    impl_->counts = std::move(exact.counts);
  } else {
    const internal::ResultCheck check(ground_truth, bad_results, lists[0][0].has_box);
    std::vector<size_t> first_index = {0};
    for (const auto& list : lists) first_index.push_back(first_index.back() + list.size());
    std::vector<internal::Checked> checked(lists.size());
    parallel_for(lists.size(), impl_->threads, 1, [&](size_t begin, size_t end) {
      for (size_t i = begin; i < end; ++i) {
        internal::check_list(check, first_index[i], lists[i], checked[i]);
      }
    });
    for (internal::Checked& piece : checked) {
      if (piece.error) {
        return tl::unexpected(std::move(*piece.error).with_context(impl_->name));
      }
      for (size_t reason = 0; reason < kBadReasonCount; ++reason) {
        BadResultCount& count = impl_->bad[reason];
        if (count.count == 0) count.first = std::move(piece.bad[reason].first);
        count.count += piece.bad[reason].count;
      }
    }
  }
  for (const auto& list : lists) impl_->size += list.size();
  return {};
}

size_t ResultsFile::size() const { return impl_->size; }

const BadResultCounts& ResultsFile::bad() const { return impl_->bad; }

std::vector<Detection> ResultsFile::detections() const {
  std::vector<size_t> begins = {0};
  for (const auto& list : impl_->lists) begins.push_back(begins.back() + list.size());
  std::vector<Detection> detections(impl_->size);
  parallel_for(impl_->lists.size(), impl_->threads, 1, [&](size_t begin, size_t end) {
    internal::MaskTextReader masks;
    for (size_t i = begin; i < end; ++i) {
      std::ranges::transform(
          impl_->lists[i],
          detections.begin() + static_cast<ptrdiff_t>(begins[i]),
          [&](const ResultRecord& record) { return to_detection(record, masks); });
    }
  });
  return detections;
}

Result<std::vector<Detection>> parse_results(std::string_view text,
                                             std::string_view name,
                                             const dataset::CocoDataset& ground_truth) {
  ResultsFile file(text, name);
  ATOLL_TRY(file.resolve(ground_truth, BadResults::kAsPycocotools));
  return file.detections();
}

}  // namespace atl::eval
