// One generated picture. Objects are placed one after the other, each drawn over the earlier ones;
// a place where it would hide too much of an earlier object is given up for another. `owner_` knows
// for each pixel which object is seen there, and so what is left of each object.
#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "base/check.h"
#include "dataset/synth.h"
#include "dataset/synth_shape.h"

namespace atl::dataset {
namespace {

using Color = std::array<double, 3>;

// Sizes are for a picture of 128 px and grow with it.
constexpr double kReferenceSize_px = 128;
constexpr double kMinDiameter_px = 13;
constexpr double kMaxDiameter_px = 60;
constexpr double kCrowdMemberDiameter_px = 9;
constexpr double kCrowdRadius_px = 17;
constexpr int kMaxObjects = 5;
constexpr double kEmptyImages = 0.02;
constexpr double kCrowdImages = 0.03;
// Less of an object than this, or fewer pixels, and nobody could label it.
constexpr double kMinVisible = 0.45;
constexpr int kMinVisiblePixels = 30;
constexpr int kPlacementTries = 25;
constexpr int16_t kBackground = -1;

Color from_hsv(double hue, double saturation, double value) {
  const auto channel = [&](double n) {
    const double k = std::fmod(n + hue * 6, 6.0);
    return value * (1 - saturation * std::clamp(std::min(k, 4 - k), 0.0, 1.0));
  };
  return {channel(5), channel(3), channel(1)};
}

class Scene {
 public:
  Scene(KeyedRandom random, int size_px)
      : random_(random),
        size_(size_px),
        scale_(size_px / kReferenceSize_px),
        pixels_(static_cast<size_t>(size_px) * static_cast<size_t>(size_px)),
        owner_(pixels_.size(), kBackground) {}

  SynthImage make() {
    paint_background();
    if (random_.uniform() >= kEmptyImages) {
      // Hues a golden section apart: neighbours in time never look alike.
      hue_ = random_.uniform();
      if (random_.uniform() < kCrowdImages) add_crowd();
      const auto count = 1 + static_cast<int>(random_.below(kMaxObjects));
      for (int i = 0; i < count; ++i) add_object();
    }
    return finish();
  }

 private:
  struct Object {
    ShapeKind kind;
    bool crowd = false;
    bool clipped = false;  // reaches beyond the picture
    int full_pixels = 0;   // when it was drawn
    int visible_pixels = 0;
    std::vector<double> outline;
  };

  // A pixel of a shape and how far inside the outline its centre lies.
  struct Covered {
    size_t pixel;
    double distance_px;
  };

  // Smooth noise in [-1, 1]: random values on a grid, interpolated.
  std::vector<double> smooth_noise(int cells) {
    const auto stride = static_cast<size_t>(cells) + 2;
    std::vector<double> grid(stride * stride);
    for (double& value : grid) value = random_.uniform(-1, 1);
    std::vector<double> noise(pixels_.size());
    for (int y = 0; y < size_; ++y) {
      const double gy = static_cast<double>(y) * cells / size_;
      const auto row = static_cast<size_t>(gy);
      const double fy = gy - static_cast<double>(row);
      for (int x = 0; x < size_; ++x) {
        const double gx = static_cast<double>(x) * cells / size_;
        const auto column = static_cast<size_t>(gx);
        const double fx = gx - static_cast<double>(column);
        const double* corner = &grid[row * stride + column];
        noise[at(x, y)] = (1 - fy) * ((1 - fx) * corner[0] + fx * corner[1]) +
                          fy * ((1 - fx) * corner[stride] + fx * corner[stride + 1]);
      }
    }
    return noise;
  }

  // Dark and dull, so that the bright, saturated shapes stand out.
  void paint_background() {
    const Color base =
        from_hsv(random_.uniform(), random_.uniform(0, 0.3), random_.uniform(0.22, 0.5));
    const Color tint = {
        random_.uniform(-0.1, 0.1), random_.uniform(-0.1, 0.1), random_.uniform(-0.1, 0.1)};
    const auto coarse = smooth_noise(4);
    const auto fine = smooth_noise(20);
    for (size_t i = 0; i < pixels_.size(); ++i) {
      const double grain = random_.uniform(-0.05, 0.05);
      for (size_t c = 0; c < 3; ++c) {
        pixels_[i][c] = base[c] + coarse[i] * (0.08 + tint[c]) + fine[i] * 0.06 + grain;
      }
    }
  }

  std::vector<Covered> covered_by(const Shape& shape) const {
    std::vector<Covered> covered;
    const double reach = shape.radius_px * 1.15 + 1;
    const auto clamp_side = [&](double v) { return std::clamp(static_cast<int>(v), 0, size_); };
    for (int y = clamp_side(shape.center_y - reach); y < clamp_side(shape.center_y + reach + 1);
         ++y) {
      for (int x = clamp_side(shape.center_x - reach); x < clamp_side(shape.center_x + reach + 1);
           ++x) {
        const double distance = signed_distance(shape, x + 0.5, y + 0.5);
        if (distance < 0.5) covered.push_back({at(x, y), distance});
      }
    }
    return covered;
  }

  // Whether every earlier object stays recognisable under these pixels.
  bool leaves_enough(const std::vector<Covered>& covered) const {
    std::vector<int> hidden(objects_.size(), 0);
    for (const Covered& c : covered) {
      const int16_t owner = owner_[c.pixel];
      if (c.distance_px < 0 && owner != kBackground) ++hidden[static_cast<size_t>(owner)];
    }
    for (size_t i = 0; i < objects_.size(); ++i) {
      if (hidden[i] == 0) continue;
      const int left = objects_[i].visible_pixels - hidden[i];
      if (left < kMinVisiblePixels || left < kMinVisible * objects_[i].full_pixels) return false;
    }
    return true;
  }

  void claim(const std::vector<Covered>& covered, size_t object) {
    for (const Covered& c : covered) {
      if (c.distance_px >= 0) continue;
      int16_t& owner = owner_[c.pixel];
      if (owner == static_cast<int16_t>(object)) continue;
      if (owner != kBackground) --objects_[static_cast<size_t>(owner)].visible_pixels;
      owner = static_cast<int16_t>(object);
      ++objects_[object].visible_pixels;
      ++objects_[object].full_pixels;
    }
  }

  // Shaded along a random direction, striped or grained, darker at the rim, antialiased.
  void paint(const Shape& shape, const std::vector<Covered>& covered) {
    hue_ = std::fmod(hue_ + 1 / std::numbers::phi, 1.0);
    const Color base = from_hsv(hue_, random_.uniform(0.65, 1), random_.uniform(0.75, 1));
    const double light = random_.uniform(0, 2 * std::numbers::pi);
    const double wave = random_.uniform(0, 2 * std::numbers::pi);
    const double wave_length_px = random_.uniform(4, 10) * scale_;
    const bool striped = random_.below(2) == 0;
    for (const Covered& c : covered) {
      const size_t row = c.pixel / static_cast<size_t>(size_);
      const size_t column = c.pixel % static_cast<size_t>(size_);
      const double x = static_cast<double>(column) - shape.center_x;
      const double y = static_cast<double>(row) - shape.center_y;
      const double shade =
          0.18 * (x * std::cos(light) + y * std::sin(light)) / std::max(shape.radius_px, 1.0);
      const double phase =
          2 * std::numbers::pi * (x * std::cos(wave) + y * std::sin(wave)) / wave_length_px;
      const double grain = striped ? 0.1 * std::sin(phase) : random_.uniform(-0.12, 0.12);
      const double rim = c.distance_px > -1.2 * scale_ ? 0.6 : 1;
      const double opacity = std::clamp(0.5 - c.distance_px, 0.0, 1.0);
      for (size_t channel = 0; channel < 3; ++channel) {
        double& pixel = pixels_[c.pixel][channel];
        pixel += opacity * (base[channel] * (1 + shade + grain) * rim - pixel);
      }
    }
  }

  bool is_clipped(const Shape& shape) const {
    return std::any_of(
        shape.outline.begin(), shape.outline.end(), [&](double v) { return v < 0 || v > size_; });
  }

  void add_object() {
    const ShapeKind kind = kShapeKinds[random_.below(kShapeKinds.size())];
    for (int attempt = 0; attempt < kPlacementTries; ++attempt) {
      const double diameter = random_.uniform(kMinDiameter_px, kMaxDiameter_px) * scale_;
      // The centre keeps its distance from the border, so that most of the shape is in the picture.
      const double margin = 0.35 * diameter;
      const double x = random_.uniform(margin, size_ - margin);
      const double y = random_.uniform(margin, size_ - margin);
      const Shape shape = make_shape(kind, x, y, diameter, random_);
      const auto covered = covered_by(shape);
      const auto inside = std::count_if(
          covered.begin(), covered.end(), [](const Covered& c) { return c.distance_px < 0; });
      if (inside < kMinVisiblePixels || !leaves_enough(covered)) continue;
      objects_.push_back({.kind = kind, .clipped = is_clipped(shape), .outline = shape.outline});
      claim(covered, objects_.size() - 1);
      paint(shape, covered);
      return;
    }
  }

  // A clump of small shapes of one kind that nobody would label one by one.
  void add_crowd() {
    const ShapeKind kind = kShapeKinds[random_.below(kShapeKinds.size())];
    const double radius = kCrowdRadius_px * scale_;
    const double center_x = random_.uniform(radius, size_ - radius);
    const double center_y = random_.uniform(radius, size_ - radius);
    objects_.push_back({.kind = kind, .crowd = true});
    const auto members = 8 + random_.below(7);
    for (uint64_t i = 0; i < members; ++i) {
      const double angle = random_.uniform(0, 2 * std::numbers::pi);
      const double distance = radius * 0.8 * std::sqrt(random_.uniform());
      const Shape shape = make_shape(kind,
                                     center_x + distance * std::cos(angle),
                                     center_y + distance * std::sin(angle),
                                     kCrowdMemberDiameter_px * scale_ * random_.uniform(0.8, 1.2),
                                     random_);
      const auto covered = covered_by(shape);
      claim(covered, objects_.size() - 1);
      paint(shape, covered);
    }
  }

  AnnotationRecord record_of(size_t index) const {
    const Object& object = objects_[index];
    AnnotationRecord record{.category_id = synth_categories()[static_cast<size_t>(object.kind)].id,
                            .crowd = object.crowd};
    const auto side = static_cast<uint32_t>(size_);
    const bool whole = object.visible_pixels == object.full_pixels && !object.clipped;
    if (whole && !object.crowd) {
      record.kind = SegmentationKind::kPolygons;
      record.coordinates = object.outline;
      record.polygon_lengths = {object.outline.size()};
      record.rle = rle_from_polygon(object.outline, side, side);
    } else {
      record.kind = SegmentationKind::kRle;
      std::vector<uint8_t> column_major(owner_.size());
      for (int y = 0; y < size_; ++y) {
        for (int x = 0; x < size_; ++x) {
          column_major[at(y, x)] = owner_[at(x, y)] == static_cast<int16_t>(index) ? 1 : 0;
        }
      }
      record.rle = rle_from_bitmap(column_major, side, side);
    }
    record.box = rle_bounding_box(record.rle);
    record.area = static_cast<double>(rle_area(record.rle));
    return record;
  }

  SynthImage finish() const {
    SynthImage image{{size_, size_, std::vector<uint8_t>(pixels_.size() * 3)}, {}};
    for (size_t i = 0; i < pixels_.size(); ++i) {
      for (size_t c = 0; c < 3; ++c) {
        image.picture.rgb[3 * i + c] =
            static_cast<uint8_t>(std::lround(std::clamp(pixels_[i][c], 0.0, 1.0) * 255));
      }
    }
    for (size_t i = 0; i < objects_.size(); ++i) image.objects.push_back(record_of(i));
    return image;
  }

  size_t at(int x, int y) const {
    return static_cast<size_t>(y) * static_cast<size_t>(size_) + static_cast<size_t>(x);
  }

  KeyedRandom random_;
  int size_;
  double scale_;
  double hue_ = 0;
  std::vector<Color> pixels_;   // rows top to bottom, 0..1
  std::vector<int16_t> owner_;  // the object seen at each pixel
  std::vector<Object> objects_;
};

}  // namespace

std::vector<Category> synth_categories() {
  return {{1, "disc", "shape"},
          {2, "rectangle", "shape"},
          {3, "triangle", "shape"},
          {5, "star", "shape"}};
}

SynthImage synth_image(uint64_t seed, Split split, int64_t index, int size_px) {
  ATOLL_CHECK(size_px >= 32) << size_px;
  return Scene(KeyedRandom({seed, static_cast<uint64_t>(split), static_cast<uint64_t>(index)}),
               size_px)
      .make();
}

}  // namespace atl::dataset
