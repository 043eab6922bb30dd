// atoll predict: each picture on its own, in the order given.
#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "base/bytes.h"
#include "base/parallel.h"
#include "dataset/image.h"
#include "trace/trace.h"
#include "train/detection_records.h"
#include "train/device.h"
#include "train/library_exceptions.h"
#include "train/predictions_file.h"
#include "train/train.h"

namespace atl::train {
namespace {

using Json = nlohmann::json;

// Pictures that the stores are told of at a time.
constexpr size_t kNamedAhead = 1024;

// Below --out, what is drawn.
constexpr std::string_view kPictures = "pictures/";
// Stands in each of these, so that those of an earlier prediction are told from a person's own.
constexpr std::string_view kMark = "drawn by atoll predict";
constexpr int kPictureQuality = 90;
constexpr uint64_t kMarkEndsAt = 24 + kMark.size();  // dataset::encode_jpeg()

struct Input {
  std::shared_ptr<storage::ObjectStore> store;
  std::string key;
  std::string name;          // for people
  std::string picture = {};  // what is drawn, below --out
};

bool is_picture_name(std::string_view key) {
  std::string extension(key.substr(std::min(key.rfind('.'), key.size())));
  std::ranges::transform(extension, extension.begin(), [](unsigned char c) {
    return static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  });
  static constexpr std::array<std::string_view, 3> kExtensions = {".jpg", ".jpeg", ".png"};
  return std::ranges::find(kExtensions, extension) != kExtensions.end();
}

// A file is itself; anything else is taken for a directory, whose pictures count, at any depth.
Result<void> add_inputs(const std::string& uri, std::vector<Input>& inputs) {
  if (auto location = storage::open_location(uri); location && !uri.ends_with('/')) {
    const auto info = location->store->head(location->key);
    if (info) {
      inputs.push_back({std::move(location->store), location->key, uri});
      return {};
    }
  }
  std::shared_ptr<storage::ObjectStore> store = ATOLL_TRY(storage::open_store(uri));
  const size_t before = inputs.size();
  ATOLL_TRY(store->list("", [&](const storage::ObjectInfo& info) {
    if (is_picture_name(info.key)) {
      inputs.push_back({store, info.key, fmt::format("{}/{}", store->uri(), info.key)});
    }
    return true;
  }));
  if (inputs.size() == before) {
    return fail(ErrorCode::kInvalidInput,
                fmt::format("{}: no such picture, and no directory with pictures in it", uri),
                "name .jpg or .png files, or directories of them");
  }
  return {};
}

// One name for one place: of a directory by whatever path, of a bucket its own.
std::string place_of(const std::string& uri) {
  if (uri.find("://") != std::string::npos) return uri;
  std::error_code error;
  std::string place = std::filesystem::weakly_canonical(uri, error).string();
  while (place.ends_with('/')) place.pop_back();
  return error ? uri : place;
}

// "dir/a.jpg" -> "a.jpg"; a second one of that name gets "a-2.jpg".
std::string picture_key(const std::string& key, std::set<std::string>& taken) {
  const std::string stem = std::filesystem::path(key).stem().string();
  std::string name = fmt::format("{}{}.jpg", kPictures, stem);
  for (int copy = 2; !taken.insert(name).second; ++copy) {
    name = fmt::format("{}{}-{}.jpg", kPictures, stem, copy);
  }
  return name;
}

// A picture that could not be read took no time worth speaking of: the rate is that of the rest.
void set_speed(Progress& progress, int64_t read, double seconds) {
  if (read == 0 || seconds <= 0) return;
  progress.images_per_s = static_cast<double>(read) / seconds;
  progress.seconds_left =
      static_cast<double>(progress.total - progress.done) / progress.images_per_s;
}

class Prediction {
 public:
  Prediction(const PredictOptions& options, const Console& console)
      : options_(options), console_(console) {}

  Result<void> prepare();
  Result<void> run(const std::stop_token& stop);

 private:
  Result<void> name_pictures();
  void name_next(size_t first) const;
  Result<void> predict(int64_t id, const Input& input);
  Result<void> write_results();

  const PredictOptions& options_;
  const Console& console_;
  std::unique_ptr<storage::ObjectStore> out_;
  std::vector<Input> inputs_;
  model::LoadedModel loaded_;
  std::optional<PredictionsFile> predictions_;
  Json images_ = Json::array();
  int64_t bad_images_ = 0;
  int64_t drawn_ = 0;  // detections of the threshold and above
};

Result<void> Prediction::prepare() {
  configure_torch(options_.threads);
  for (const auto& input : options_.inputs) ATOLL_TRY(add_inputs(input, inputs_));
  if (inputs_.empty()) {
    return fail(ErrorCode::kInvalidInput, "no pictures are named", "name files or directories");
  }
  out_ = ATOLL_TRY(storage::open_store(options_.out, true));
  // What an earlier prediction drew is no input, and would be overwritten while it is read.
  const std::string own = fmt::format("{}/{}", place_of(out_->uri()), kPictures);
  const size_t left_out = std::erase_if(inputs_, [&](const Input& input) {
    return place_of(fmt::format("{}/{}", input.store->uri(), input.key)).starts_with(own);
  });
  if (left_out > 0 && !inputs_.empty() && console_.line) {
    console_.line(fmt::format(
        "passed over {} in {}, where the pictures go", format_count(left_out, "picture"), own));
  }
  if (inputs_.empty()) {
    return fail(ErrorCode::kInvalidInput,
                fmt::format("all that is named lies in {}, where the pictures go", own),
                "name another --out");
  }
  ATOLL_TRY(name_pictures());
  predictions_ = ATOLL_TRY(PredictionsFile::create());
  const at::Device device = ATOLL_TRY(choose_device(options_.device));
  const auto location = ATOLL_TRY(storage::open_location(options_.weights));
  loaded_ = ATOLL_TRY(model::load_model(*location.store, location.key, device));
  return {};
}

// What is there under such a name must be an earlier prediction's.
Result<void> Prediction::name_pictures() {
  std::set<std::string> taken;
  for (Input& input : inputs_) input.picture = picture_key(input.key, taken);
  std::vector<std::string> there;
  ATOLL_TRY(out_->list(kPictures, [&](const storage::ObjectInfo& info) {
    if (taken.contains(info.key)) there.push_back(info.key);
    return true;
  }));
  std::vector<Result<bool>> is_ours(there.size(), false);
  constexpr int kReads = 16;  // each is mostly a wait for a bucket
  parallel_for(there.size(), kReads, 1, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) {
      is_ours[i] = out_->get_range(there[i], 0, kMarkEndsAt).map([](const storage::Blob& head) {
        return head.text().ends_with(kMark);
      });
    }
  });
  for (size_t i = 0; i < there.size(); ++i) {
    if (ATOLL_TRY(is_ours[i])) continue;
    return fail(ErrorCode::kInvalidInput,
                fmt::format("{}/{} is there, and is no picture that atoll predict has drawn",
                            out_->uri(),
                            there[i]),
                "name another --out, or move it away");
  }
  return {};
}

Result<void> Prediction::run(const std::stop_token& stop) {
  Progress progress{.phase = "predict", .total = static_cast<int64_t>(inputs_.size())};
  const auto begin = trace::Clock::now();
  for (size_t i = 0; i < inputs_.size(); ++i) {
    if (stop.stop_requested()) break;
    if (i % kNamedAhead == 0) name_next(i);
    // Ids count from 1, as COCO's do; images.json says whose is which.
    ATOLL_TRY(predict(static_cast<int64_t>(i) + 1, inputs_[i]));
    const double seconds = std::chrono::duration<double>(trace::Clock::now() - begin).count();
    progress.done = static_cast<int64_t>(i) + 1;
    set_speed(progress, progress.done - bad_images_, seconds);
    if (console_.progress) console_.progress(progress);
  }
  const int64_t detections = predictions_->count();
  ATOLL_TRY(write_results());
  if (stop.stop_requested()) return fail(ErrorCode::kCancelled, "the prediction was stopped");
  if (bad_images_ == static_cast<int64_t>(inputs_.size())) {
    return fail(ErrorCode::kInvalidInput, "none of the pictures could be read");
  }
  if (console_.line) {
    console_.line(
        fmt::format("{} drawn with {} of score {:g} and above, {} skipped; "
                    "predictions.json has all {}; everything is in {}",
                    format_count(inputs_.size() - bad_images_, "picture"),
                    format_count(drawn_, "object"),
                    options_.score_threshold,
                    bad_images_,
                    format_count(detections, "detection"),
                    out_->uri()));
  }
  return {};
}

// Tells the stores what comes next. A picture that is named by itself has a store of its own, which has
// nothing to gain.
void Prediction::name_next(size_t first) const {
  const size_t end = std::min(first + kNamedAhead, inputs_.size());
  for (size_t i = first; i < end;) {
    std::vector<std::string> keys;
    const auto& store = inputs_[i].store;
    for (; i < end && inputs_[i].store == store; ++i) keys.push_back(inputs_[i].key);
    if (keys.size() > 1) store->will_need(keys);
  }
}

Result<void> Prediction::predict(int64_t id, const Input& input) {
  auto file = input.store->get(input.key);
  auto picture = file ? dataset::decode_image(file->bytes()) : tl::unexpected(file.error());
  if (!picture) {
    ++bad_images_;
    if (console_.line) {
      console_.line(fmt::format("skipped: {}: {}", input.name, picture.error().to_string()));
    }
    return {};
  }
  auto records = detect_picture(*loaded_.model, loaded_.categories, *picture, id);
  const auto jpeg = ATOLL_TRY(dataset::encode_jpeg(
      draw_records(*picture, records, loaded_.categories, options_.score_threshold),
      kPictureQuality,
      kMark));
  const std::span<const std::byte> part(jpeg);
  ATOLL_TRY(out_->put(input.picture, std::span(&part, 1)));
  images_.push_back({{"id", id},
                     {"file_name", input.name},
                     {"width", picture->width},
                     {"height", picture->height},
                     {"picture", input.picture}});
  drawn_ += std::ranges::count_if(
      records, [&](const auto& record) { return record.score >= options_.score_threshold; });
  return predictions_->add(records);
}

Result<void> Prediction::write_results() {
  Json categories = Json::array();
  for (size_t i = 0; i < loaded_.categories.ids.size(); ++i) {
    categories.push_back(
        {{"id", loaded_.categories.ids[i]}, {"name", loaded_.categories.names[i]}});
  }
  const Json json = {{"images", images_}, {"categories", categories}};
  ATOLL_TRY(storage::put_text(
      *out_, "images.json", json.dump(1, ' ', false, Json::error_handler_t::replace) + '\n'));
  return std::move(*predictions_).write_to(*out_, "predictions.json");
}

}  // namespace

Result<void> run_prediction(const PredictOptions& options,
                            const Console& console,
                            std::stop_token stop) {
  return without_exceptions("prediction", [&]() -> Result<void> {
    Prediction prediction(options, console);
    ATOLL_TRY(prediction.prepare());
    return prediction.run(stop);
  });
}

}  // namespace atl::train
