// The program behind `./run bench index` (bench/index.py); every command prints one JSON line.
//
//   index_bench generate FILE            a COCO JSON of train2017's size and form
//   index_bench simdjson FILE            simdjson's bare parse into its DOM, one thread
//   index_bench parse FILE THREADS       ours: text -> arrays
//   index_bench write FILE THREADS INDEX ours: file -> arrays -> index file, synced to disk
//   index_bench open INDEX               opening, and what is resident after reading everything
//
// For simdjson and parse the text is in memory, padded, when the clock starts. Each parses kRounds
// times in one process: the first round pays for fresh memory, the fastest is what is compared.
#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <numbers>
#include <string>

#include "base/keyed_random.h"
#include "dataset/coco_builder.h"
#include "dataset/coco_json_dispatch.h"
#include "dataset/index.h"
#include "storage/storage.h"

namespace {

using atl::KeyedRandom;
using Clock = std::chrono::steady_clock;

// train2017: 118,287 images, 860,001 objects, 1 % of them crowds, 80 classes, 449 MB.
constexpr int64_t kImages = 118287;
constexpr int64_t kAnnotations = 860001;
constexpr int64_t kCategories = 80;
constexpr int kRounds = 3;
constexpr int kWidth = 640;
constexpr int kHeight = 480;

[[noreturn]] void die(const std::string& message) {
  fmt::print(stderr, "index_bench: {}\n", message);
  std::exit(1);
}

template <typename T>
T value_or_die(atl::Result<T> result) {
  if (!result) die(result.error().to_string());
  return std::move(*result);
}

// As json.dump writes a float with two decimals: 12.5, 12.25, 12.0.
void append_number(std::string& out, double value) {
  const auto hundredths = std::llround(value * 100);
  fmt::format_to(std::back_inserter(out), "{}.{}", hundredths / 100, hundredths % 100 / 10);
  if (hundredths % 10 != 0) out += static_cast<char>('0' + hundredths % 10);
}

void append_polygon(std::string& out, KeyedRandom& random, double x, double y, double radius) {
  // COCO's polygons have 23 points on average, few have more than 100.
  const int points = 4 + static_cast<int>(-15.5 * std::log(1 - 0.99 * random.uniform()));
  out += '[';
  for (int i = 0; i < points; ++i) {
    const double angle = 2 * std::numbers::pi * i / points;
    const double r = radius * (0.7 + 0.3 * random.uniform());
    append_number(out, std::clamp(x + r * std::cos(angle), 0.0, double{kWidth}));
    out += ", ";
    append_number(out, std::clamp(y + r * std::sin(angle), 0.0, double{kHeight}));
    out += i + 1 < points ? ", " : "]";
  }
}

void append_runs(std::string& out, KeyedRandom& random) {
  uint64_t left = uint64_t{kWidth} * kHeight;
  out += R"({"counts": [)";
  while (left > 0) {
    const uint64_t run = std::min<uint64_t>(left, 1 + random.below(900));
    left -= run;
    fmt::format_to(std::back_inserter(out), "{}{}", run, left > 0 ? ", " : "]");
  }
  fmt::format_to(std::back_inserter(out), R"(, "size": [{}, {}]}})", kHeight, kWidth);
}

void append_image(std::string& out, int64_t index) {
  KeyedRandom random({1, static_cast<uint64_t>(index)});
  const int64_t id = index * 5 + 9;
  fmt::format_to(
      std::back_inserter(out),
      R"({{"license": {}, "file_name": "{:012}.jpg", "coco_url": "http://images.example.org/train2017/{:012}.jpg", "height": {}, "width": {}, "date_captured": "2013-11-{:02} {:02}:{:02}:{:02}", "flickr_url": "http://photos{}.pictures.example.org/{}/{}_{:010x}_z.jpg", "id": {}}})",
      1 + random.below(8),
      id,
      id,
      kHeight,
      kWidth,
      1 + random.below(28),
      random.below(24),
      random.below(60),
      random.below(60),
      1 + random.below(9),
      1000 + random.below(9000),
      1000000000 + random.below(9000000000),
      random.below(uint64_t{1} << 40),
      id);
}

void append_annotation(std::string& out, int64_t index) {
  KeyedRandom random({2, static_cast<uint64_t>(index)});
  const bool crowd = index % 100 == 99;
  const double x = random.uniform() * kWidth;
  const double y = random.uniform() * kHeight;
  const double radius = 4 + 150 * random.uniform() * random.uniform();
  out += R"({"segmentation": )";
  if (crowd) {
    append_runs(out, random);
  } else {
    out += '[';
    for (uint64_t parts = random.below(10) == 0 ? 3 : 1; parts > 0; --parts) {
      append_polygon(out, random, x, y, radius);
      if (parts > 1) out += ", ";
    }
    out += ']';
  }
  fmt::format_to(std::back_inserter(out),
                 R"(, "area": {}, "iscrowd": {}, "image_id": {}, "bbox": [)",
                 2 * radius * radius + random.uniform(),
                 crowd ? 1 : 0,
                 static_cast<int64_t>(random.below(kImages)) * 5 + 9);
  const std::array box = {std::max(x - radius, 0.0), std::max(y - radius, 0.0), radius, radius};
  for (size_t i = 0; i < 4; ++i) {
    if (i > 0) out += ", ";
    append_number(out, box[i]);
  }
  fmt::format_to(std::back_inserter(out),
                 R"(], "category_id": {}, "id": {}}})",
                 1 + random.below(kCategories),
                 crowd ? 900100000000 + index : 1 + index);
}

template <typename Append>
void write_list(std::ofstream& file, const char* key, int64_t count, Append append) {
  std::string out = fmt::format(R"("{}": [)", key);
  for (int64_t i = 0; i < count; ++i) {
    if (i > 0) out += ", ";
    append(out, i);
    if (out.size() < size_t{1} << 20) continue;
    file << out;
    out.clear();
  }
  file << out << ']';
}

void generate(const char* path) {
  std::ofstream file(path, std::ios::binary);
  file << R"({"info": {"description": "generated"}, "licenses": [], )";
  write_list(file, "images", kImages, append_image);
  file << ", ";
  write_list(file, "annotations", kAnnotations, append_annotation);
  file << ", ";
  write_list(file, "categories", kCategories, [](std::string& out, int64_t i) {
    fmt::format_to(std::back_inserter(out),
                   R"({{"supercategory": "thing", "id": {}, "name": "class {}"}})",
                   i + 1,
                   i + 1);
  });
  file << '}';
  if (!file.flush()) die(fmt::format("cannot write {}", path));
  fmt::print("{{\"bytes\": {}}}\n", static_cast<int64_t>(file.tellp()));
}

simdjson::padded_string load(const char* path) {
  simdjson::padded_string text;
  if (simdjson::padded_string::load(path).get(text) != simdjson::SUCCESS) {
    die(fmt::format("cannot read {}", path));
  }
  return text;
}

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

void parse_with_simdjson(const char* path) {
  const auto text = load(path);
  simdjson::dom::parser parser;
  double first = 0;
  double fastest = 1e9;
  for (int round = 0; round < kRounds; ++round) {
    const auto begin = Clock::now();
    if (parser.parse(text).error() != simdjson::SUCCESS) die("simdjson refuses the text");
    const double seconds = seconds_since(begin);
    if (round == 0) first = seconds;
    fastest = std::min(fastest, seconds);
  }
  fmt::print("{{\"kernel\": \"{}\", \"first_s\": {:.4f}, \"fastest_s\": {:.4f}}}\n",
             simdjson::get_active_implementation()->name(),
             first,
             fastest);
}

void parse_with_atoll(const char* path, int threads) {
  const auto text = load(path);
  double first = 0;
  double fastest = 1e9;
  size_t annotations = 0;
  for (int round = 0; round < kRounds; ++round) {
    const auto begin = Clock::now();
    atl::dataset::CocoBuilder builder;
    const auto read =
        atl::dataset::read_coco_json({text.data(), text.size()}, builder, {.threads = threads});
    if (!read) die(read.error().to_string());
    const auto data = builder.finish();
    const double seconds = seconds_since(begin);
    annotations = data.annotations().size();
    if (round == 0) first = seconds;
    fastest = std::min(fastest, seconds);
  }
  fmt::print(
      "{{\"kernel\": \"{}\", \"threads\": {}, \"annotations\": {}, \"first_s\": {:.4f}, "
      "\"fastest_s\": {:.4f}}}\n",
      atl::dataset::best_number_kernel().name,
      threads,
      annotations,
      first,
      fastest);
}

void write_an_index(const char* path, int threads, const char* index_path) {
  const auto json = value_or_die(atl::storage::open_location(path));
  const auto index = value_or_die(atl::storage::open_location(index_path));
  if (const auto removed = index.store->remove(index.key); !removed) {
    die(removed.error().to_string());
  }
  const auto built = value_or_die(atl::dataset::build_index(
      *json.store, json.key, *index.store, index.key, {.threads = threads}));
  fmt::print("{{\"threads\": {}, \"read_s\": {:.4f}, \"write_s\": {:.4f}, \"index_bytes\": {}}}\n",
             threads,
             built.read_time.count(),
             built.write_time.count(),
             built.index_bytes);
}

// Pages of this process in memory, its program included.
uint64_t resident_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    uint64_t kilobytes = 0;
    if (word == "VmRSS:" && status >> kilobytes) return kilobytes << 10;
  }
  die("no VmRSS in /proc/self/status");
}

// Everything that a worker of a training asks for, once.
uint64_t read_everything(const atl::dataset::CocoDataset& data) {
  uint64_t checksum = 0;
  std::vector<double> xy;
  for (size_t i = 0; i < data.images().size(); ++i) {
    checksum += data.images()[i].file_name.size() + *data.image_index(data.images()[i].id);
    for (const auto& annotation : data.annotations_of(i)) {
      for (uint32_t part = 0; part < annotation.part_count; ++part) {
        if (annotation.kind == atl::dataset::SegmentationKind::kRle) {
          checksum += data.rle(annotation.first_part).counts.back();
          continue;
        }
        xy.clear();
        data.polygon(annotation.first_part + part).append_to(xy);
        checksum += static_cast<uint64_t>(xy.back());
      }
    }
  }
  return checksum;
}

void open_an_index(const char* path) {
  const auto location = value_or_die(atl::storage::open_location(path));
  const auto begin = Clock::now();
  auto blob = value_or_die(location.store->get(location.key));
  const size_t size = blob.size();
  const auto opened = value_or_die(atl::dataset::open_index(std::move(blob), path));
  const double seconds = seconds_since(begin);
  const uint64_t checksum = read_everything(opened.dataset);
  fmt::print(
      "{{\"open_ms\": {:.2f}, \"resident_bytes\": {}, \"index_bytes\": {}, \"checksum\": {}}}\n",
      seconds * 1000,
      resident_bytes(),
      size,
      checksum);
}

void run(int argc, char** argv) {
  const std::string command = argc > 2 ? argv[1] : "";
  if (command == "generate") {
    generate(argv[2]);
  } else if (command == "simdjson") {
    parse_with_simdjson(argv[2]);
  } else if (command == "parse" && argc == 4) {
    parse_with_atoll(argv[2], std::atoi(argv[3]));
  } else if (command == "write" && argc == 5) {
    write_an_index(argv[2], std::atoi(argv[3]), argv[4]);
  } else if (command == "open") {
    open_an_index(argv[2]);
  } else {
    die("see the beginning of bench/index_bench.cpp");
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    run(argc, argv);
  } catch (const std::exception& error) {
    die(error.what());
  }
}
