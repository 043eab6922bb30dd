// Makes what bench/eval.py compares evaluators on: ground truth and results of val2017's size.
//
//   eval_data FOLDER [IMAGES [SEED]]     writes FOLDER/gt.json and FOLDER/dt.json
//
// Images of 640 x 480 with about 7.3 objects each in 80 categories, 1 % of them crowds. Objects are
// wavy blobs, as polygons; two in five small, one in four large, as in COCO. Each image has 100
// detections as a detector leaves them: several of each object, moved, stretched and ragged by
// different amounts, the rest of nothing; scores fall and go with the fit; boxes and scores are
// float32s. The text is that of Python's json.dump. All of it is a function of the seed.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <memory>
#include <numbers>
#include <string>
#include <vector>

#include "base/keyed_random.h"
#include "base/parallel.h"
#include "dataset/rle.h"

namespace {

using atl::KeyedRandom;
using atl::dataset::Rle;

constexpr uint32_t kHeight_px = 480;
constexpr uint32_t kWidth_px = 640;
constexpr int kCategories = 80;
constexpr int kDetectionsAnImage = 100;
constexpr double kMeanObjects = 7.3;
constexpr double kCrowdShare = 0.01;

// A closed curve around a centre: r(angle) = radius * (1 + sum of waves), stretched and turned.
struct Blob {
  double x = 0;
  double y = 0;
  double radius_px = 0;
  double stretch = 1;
  double turn = 0;
  std::array<double, 4> height = {};  // of the waves with 2 to 5 periods
  std::array<double, 4> phase = {};
  int category = 0;
};

Blob random_blob(KeyedRandom& random, double radius_px) {
  Blob blob;
  blob.x = random.uniform(0, kWidth_px);
  blob.y = random.uniform(0, kHeight_px);
  blob.radius_px = radius_px;
  blob.stretch = std::exp(random.uniform(-0.5, 0.5));
  blob.turn = random.uniform(0, std::numbers::pi);
  for (size_t i = 0; i < blob.height.size(); ++i) {
    blob.height[i] = random.uniform(0, 0.3) / static_cast<double>(i + 1);
    blob.phase[i] = random.uniform(0, 2 * std::numbers::pi);
  }
  return blob;
}

double random_radius_px(KeyedRandom& random) {
  const double share = random.uniform();
  if (share < 0.42) return random.uniform(4, 17);
  if (share < 0.76) return random.uniform(17, 52);
  return random.uniform(52, 170);
}

// x0, y0, …, clamped to the image; `ragged_px` moves each point in or out by about as much.
std::vector<double> outline(const Blob& blob, int points, double ragged_px, KeyedRandom& random) {
  std::vector<double> xy;
  for (int i = 0; i < points; ++i) {
    const double angle = 2 * std::numbers::pi * i / points;
    double radius = 1;
    for (size_t wave = 0; wave < blob.height.size(); ++wave) {
      radius +=
          blob.height[wave] * std::cos(static_cast<double>(wave + 2) * angle + blob.phase[wave]);
    }
    radius *= blob.radius_px;
    if (ragged_px > 0) radius += ragged_px * random.uniform(-1, 1);
    const double u = radius * std::cos(angle) * blob.stretch;
    const double v = radius * std::sin(angle) / blob.stretch;
    const double x = blob.x + u * std::cos(blob.turn) - v * std::sin(blob.turn);
    const double y = blob.y + u * std::sin(blob.turn) + v * std::cos(blob.turn);
    xy.push_back(std::round(std::clamp(x, 0.0, double{kWidth_px}) * 100) / 100);
    xy.push_back(std::round(std::clamp(y, 0.0, double{kHeight_px}) * 100) / 100);
  }
  return xy;
}

std::array<double, 4> box_of(const std::vector<double>& xy) {
  double left = xy[0], right = xy[0], top = xy[1], bottom = xy[1];
  for (size_t i = 0; i < xy.size(); i += 2) {
    left = std::min(left, xy[i]);
    right = std::max(right, xy[i]);
    top = std::min(top, xy[i + 1]);
    bottom = std::max(bottom, xy[i + 1]);
  }
  return {left, top, right - left, bottom - top};
}

// What one image adds to each file, records joined by ", ".
struct ImageText {
  std::string image;
  std::string annotations;
  std::string results;
  size_t annotation_count = 0;
};

int64_t image_id_of(size_t index) { return 139 + static_cast<int64_t>(index) * 116; }
// COCO's ids 1 to 90 have holes.
int category_id_of(int category) { return category + 1 + category / 8; }

void append(std::string& list, const std::string& record) {
  if (!list.empty()) list += ", ";
  list += record;
}

// Annotation ids are filled in when the order of images is known.
constexpr std::string_view kIdPlace = "\"id\": @";

void append_annotation(
    ImageText& text, size_t image, const Blob& blob, bool crowd, KeyedRandom& random) {
  const int points = std::clamp(static_cast<int>(blob.radius_px * 0.6) + 8, 8, 70);
  const std::vector<double> xy = outline(blob, points, 0, random);
  const Rle mask = atl::dataset::rle_from_polygon(xy, kHeight_px, kWidth_px);
  const uint64_t area = atl::dataset::rle_area(mask);
  if (area == 0) return;
  const std::string segmentation = crowd ? fmt::format(R"({{"counts": [{}], "size": [{}, {}]}})",
                                                       fmt::join(mask.counts, ", "),
                                                       kHeight_px,
                                                       kWidth_px)
                                         : fmt::format("[[{}]]", fmt::join(xy, ", "));
  append(text.annotations,
         fmt::format(R"({{"segmentation": {}, "area": {}, "iscrowd": {}, "image_id": {}, )"
                     R"("bbox": [{}], "category_id": {}, {}}})",
                     segmentation,
                     static_cast<double>(area) + (crowd ? 0.0 : 0.25),
                     crowd ? 1 : 0,
                     image_id_of(image),
                     fmt::join(box_of(xy), ", "),
                     category_id_of(blob.category),
                     kIdPlace));
  ++text.annotation_count;
}

std::string json_string(const std::string& text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '\\') quoted += c;
    quoted += c;
  }
  return quoted + '"';
}

struct Scored {
  double score;
  Blob blob;
  double ragged_px;
};

void append_result(ImageText& text, size_t image, const Scored& found, KeyedRandom& random) {
  const int points = std::clamp(static_cast<int>(found.blob.radius_px * 2.2) + 10, 12, 400);
  const std::vector<double> xy = outline(found.blob, points, found.ragged_px, random);
  const Rle mask = atl::dataset::rle_from_polygon(xy, kHeight_px, kWidth_px);
  std::array<double, 4> box = box_of(xy);
  for (double& side : box) {
    side = static_cast<double>(static_cast<float>(side + random.uniform(0, 0.01)));
  }
  append(text.results,
         fmt::format(R"({{"image_id": {}, "category_id": {}, "bbox": [{}], "score": {}, )"
                     R"("segmentation": {{"size": [{}, {}], "counts": {}}}}})",
                     image_id_of(image),
                     category_id_of(found.blob.category),
                     fmt::join(box, ", "),
                     static_cast<double>(static_cast<float>(found.score)),
                     kHeight_px,
                     kWidth_px,
                     json_string(atl::dataset::rle_to_string(mask))));
}

// A detection of the object, the worse the larger `error` in [0, 1] is.
Scored near(const Blob& object, double error, KeyedRandom& random) {
  Scored found{0, object, 0.3 + 1.2 * error};
  const double reach = object.radius_px * error * 0.5;
  found.blob.x += reach * random.normal();
  found.blob.y += reach * random.normal();
  found.blob.radius_px *= std::exp(0.3 * error * random.normal());
  found.blob.stretch *= std::exp(0.2 * error * random.normal());
  for (double& height : found.blob.height) height *= 1 + error * random.normal();
  if (random.uniform() < 0.15) found.blob.category = static_cast<int>(random.below(kCategories));
  found.score = 1 / (1 + std::exp(6 * error - 3 + random.normal()));
  return found;
}

ImageText make_image(size_t index, uint64_t seed) {
  KeyedRandom random({seed, index});
  ImageText text;
  text.image =
      fmt::format(R"({{"license": 4, "file_name": "{:012}.jpg", "coco_url": )"
                  R"("http://images.example/val2017/{:012}.jpg", "height": {}, "width": {}, )"
                  R"("date_captured": "2013-11-14 17:02:52", "id": {}}})",
                  image_id_of(index),
                  image_id_of(index),
                  kHeight_px,
                  kWidth_px,
                  image_id_of(index));
  std::array<int, 4> categories;
  for (int& category : categories) {
    // Some are frequent, as people are.
    const double rank = random.uniform();
    category = static_cast<int>(rank * rank * kCategories);
  }
  const auto kinds = 1 + random.below(categories.size());
  const auto objects =
      static_cast<size_t>(std::lround(-kMeanObjects * std::log(1 - random.uniform())));
  std::vector<Scored> found;
  for (size_t i = 0; i < objects; ++i) {
    const bool crowd = random.uniform() < kCrowdShare;
    Blob object = random_blob(random, crowd ? 150 : random_radius_px(random));
    object.category = categories[random.below(kinds)];
    append_annotation(text, index, object, crowd, random);
    for (auto copies = 1 + random.below(8); copies > 0; --copies) {
      found.push_back(near(object, random.uniform(), random));
    }
  }
  while (found.size() < kDetectionsAnImage) {
    Scored nothing{random.uniform(0.05, 0.5), random_blob(random, random_radius_px(random)), 1.2};
    nothing.blob.category = random.uniform() < 0.5 ? categories[random.below(kinds)]
                                                   : static_cast<int>(random.below(kCategories));
    found.push_back(nothing);
  }
  std::ranges::stable_sort(found, std::greater<>(), &Scored::score);
  found.resize(kDetectionsAnImage);
  for (const Scored& each : found) append_result(text, index, each, random);
  return text;
}

std::string category_list() {
  std::string list;
  for (int category = 0; category < kCategories; ++category) {
    append(list,
           fmt::format(R"({{"supercategory": "thing", "id": {}, "name": "thing {}"}})",
                       category_id_of(category),
                       category));
  }
  return list;
}

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

// The pieces of every image, joined by ", ".
class ListWriter {
 public:
  explicit ListWriter(std::FILE* file) : file_(file) {}
  void add(std::string_view piece) {
    if (piece.empty()) return;
    if (!first_) write(", ");
    first_ = false;
    write(piece);
  }
  void write(std::string_view text) {
    if (std::fwrite(text.data(), 1, text.size(), file_) != text.size()) {
      std::perror("eval_data: writing");
      std::exit(1);
    }
  }

 private:
  std::FILE* file_;
  bool first_ = true;
};

std::unique_ptr<std::FILE, CloseFile> open_for_writing(const std::string& path) {
  std::unique_ptr<std::FILE, CloseFile> file(std::fopen(path.c_str(), "wb"));
  if (!file) {
    std::perror(path.c_str());
    std::exit(1);
  }
  return file;
}

std::string with_ids(std::string_view annotations, int64_t& next_id) {
  std::string text;
  for (size_t at = annotations.find(kIdPlace); at != std::string_view::npos;
       at = annotations.find(kIdPlace)) {
    text += annotations.substr(0, at + kIdPlace.size() - 1);
    text += std::to_string(next_id++);
    annotations.remove_prefix(at + kIdPlace.size());
  }
  return text.append(annotations);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2 || argc > 4) {
    fmt::print(stderr, "usage: eval_data FOLDER [IMAGES [SEED]]\n");
    return 2;
  }
  const std::string folder = argv[1];
  const size_t images = argc > 2 ? std::strtoul(argv[2], nullptr, 10) : 5000;
  const uint64_t seed = argc > 3 ? std::strtoul(argv[3], nullptr, 10) : 1;
  std::vector<ImageText> texts(images);
  atl::parallel_for(images, atl::available_cpus(), 8, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) texts[i] = make_image(i, seed);
  });

  const auto truth = open_for_writing(folder + "/gt.json");
  ListWriter image_list(truth.get());
  image_list.write(R"({"info": {"description": "made by eval_data"}, "images": [)");
  for (const ImageText& text : texts) image_list.add(text.image);
  image_list.write(R"(], "annotations": [)");
  ListWriter annotation_list(truth.get());
  int64_t next_id = 1;
  for (const ImageText& text : texts) annotation_list.add(with_ids(text.annotations, next_id));
  annotation_list.write(fmt::format(R"(], "categories": [{}]}})", category_list()));

  const auto results = open_for_writing(folder + "/dt.json");
  ListWriter result_list(results.get());
  result_list.write("[");
  for (const ImageText& text : texts) result_list.add(text.results);
  result_list.write("]");
  fmt::print("{} images, {} ground truths, {} detections\n",
             images,
             next_id - 1,
             images * kDetectionsAnImage);
}
