#include "dataset/sample.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace atl::dataset {
namespace {

// What a random number is for: the words themselves.
constexpr uint64_t kFlip = 0x666c6970;
constexpr uint64_t kScale = 0x7363616c65;
constexpr uint64_t kCrop = 0x63726f70;
constexpr uint64_t kColour = 0x636f6c6f7572;
constexpr uint64_t kPaste = 0x7061737465;

// A pasted picture is scaled in relation to how it would be trained on, where the large-scale jitter
// does not say how: "standard scale jittering" of Ghiasi et al., 2021.
constexpr double kPasteMinScale = 0.8;
constexpr double kPasteMaxScale = 1.25;

ImageSize times(ImageSize size, double factor) {
  const auto side = [&](int side_px) {
    return std::max(1, static_cast<int>(std::lround(side_px * factor)));
  };
  return {side(size.width), side(size.height)};
}

bool can_be_pasted(const Annotation& annotation) {
  return !annotation.crowd && annotation.box[2] > 0 && annotation.box[3] > 0;
}

// Any whole number between 0 and `room`, which may be negative.
int offset_within(int room, KeyedRandom& random) {
  const auto offset = static_cast<int>(random.below(static_cast<uint64_t>(std::abs(room)) + 1));
  return room < 0 ? -offset : offset;
}

}  // namespace

SamplePlanner::SamplePlanner(const CocoDataset& dataset, const LoaderOptions& options)
    : dataset_(dataset), options_(options) {
  if (!options.train || options.augment.copy_paste_probability <= 0) return;
  for (size_t i = 0; i < dataset.images().size(); ++i) {
    if (std::ranges::any_of(dataset.annotations_of(i), can_be_pasted)) {
      paste_sources_.push_back(static_cast<int64_t>(i));
    }
  }
}

KeyedRandom SamplePlanner::random_for(uint64_t purpose, int64_t epoch, int64_t image_id) const {
  return KeyedRandom(
      {options_.seed, static_cast<uint64_t>(epoch), static_cast<uint64_t>(image_id), purpose});
}

Sample SamplePlanner::plan(int64_t image_index, int64_t epoch) const {
  ATOLL_CHECK(image_index >= 0 && image_index < static_cast<int64_t>(dataset_.images().size()))
      << image_index << " of " << dataset_.images().size();
  const Image& image = dataset_.images()[static_cast<size_t>(image_index)];
  Sample sample;
  sample.image_id = image.id;
  sample.image_index = image_index;
  sample.original = {image.width, image.height};
  if (!options_.train) {
    sample.scaled = resized_size(sample.original, options_.min_size_px, options_.max_size_px);
    sample.resized = sample.scaled;
    return sample;
  }
  KeyedRandom scale = random_for(kScale, epoch, image.id);
  sample.scaled = scaled_size(sample.original, scale);
  crop(sample, random_for(kCrop, epoch, image.id));
  sample.flipped = random_for(kFlip, epoch, image.id).uniform() < options_.flip_probability;
  KeyedRandom colours = random_for(kColour, epoch, image.id);
  sample.colour = colour(colours);
  add_paste(sample, random_for(kPaste, epoch, image.id));
  return sample;
}

ImageSize SamplePlanner::scaled_size(ImageSize original, KeyedRandom& random) const {
  const AugmentOptions& augment = options_.augment;
  if (augment.lsj_size_px > 0) {
    const double fitting =
        static_cast<double>(augment.lsj_size_px) / std::max(original.width, original.height);
    return times(original, fitting * random.uniform(augment.lsj_min_scale, augment.lsj_max_scale));
  }
  int min_size_px = options_.min_size_px;
  if (!augment.min_sizes_px.empty()) {
    min_size_px = static_cast<int>(augment.min_sizes_px[random.below(augment.min_sizes_px.size())]);
  }
  return resized_size(original, min_size_px, options_.max_size_px);
}

void SamplePlanner::crop(Sample& sample, KeyedRandom random) const {
  sample.resized = sample.scaled;
  const int side = options_.augment.lsj_size_px;
  if (side == 0) return;
  sample.resized = {std::min(sample.scaled.width, side), std::min(sample.scaled.height, side)};
  sample.left = offset_within(sample.scaled.width - sample.resized.width, random);
  sample.top = offset_within(sample.scaled.height - sample.resized.height, random);
}

ColourTransform SamplePlanner::colour(KeyedRandom& random) const {
  const AugmentOptions& augment = options_.augment;
  ColourTransform result;
  if (augment.photometric_probability <= 0) return result;
  const auto& mean = options_.mean;
  const double grey = 255 * (0.299 * mean[0] + 0.587 * mean[1] + 0.114 * mean[2]);
  // All numbers are drawn, so that one option does not change what another does.
  const auto maybe = [&](double low, double high, auto transform) {
    const bool applied = random.uniform() < augment.photometric_probability;
    const double value = random.uniform(low, high);
    if (applied) result = combine(result, transform(value));
  };
  const auto around_one = [&](double width, auto transform) {
    maybe(1 - width, 1 + width, transform);
  };
  around_one(augment.brightness, brightness_transform);
  around_one(augment.contrast, [&](double factor) { return contrast_transform(factor, grey); });
  around_one(augment.saturation, saturation_transform);
  maybe(-augment.hue, augment.hue, hue_transform);
  return result;
}

void SamplePlanner::add_paste(Sample& sample, KeyedRandom random) const {
  if (random.uniform() >= options_.augment.copy_paste_probability) return;
  // One of the others.
  const auto self =
      std::lower_bound(paste_sources_.begin(), paste_sources_.end(), sample.image_index);
  const bool can_paste_itself = self != paste_sources_.end() && *self == sample.image_index;
  const size_t others = paste_sources_.size() - (can_paste_itself ? 1 : 0);
  if (others == 0) return;
  auto chosen = paste_sources_.begin() + static_cast<ptrdiff_t>(random.below(others));
  if (can_paste_itself && chosen >= self) ++chosen;

  Paste paste;
  paste.image_index = *chosen;
  const auto source = static_cast<size_t>(paste.image_index);
  const Image& image = dataset_.images()[source];
  paste.scaled = scaled_size({image.width, image.height}, random);
  if (options_.augment.lsj_size_px == 0) {
    paste.scaled = times(paste.scaled, random.uniform(kPasteMinScale, kPasteMaxScale));
  }
  paste.left = offset_within(paste.scaled.width - sample.resized.width, random);
  paste.top = offset_within(paste.scaled.height - sample.resized.height, random);
  paste.flipped = random.uniform() < options_.flip_probability;
  paste.colour = colour(random);
  const auto annotations = dataset_.annotations_of(source);
  for (size_t i = 0; i < annotations.size(); ++i) {
    const bool picked = random.below(2) == 1;
    if (picked && can_be_pasted(annotations[i])) paste.objects.push_back(static_cast<int32_t>(i));
  }
  if (!paste.objects.empty()) sample.pastes.push_back(std::move(paste));
}

}  // namespace atl::dataset
