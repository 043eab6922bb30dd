#include "train/evaluation.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "base/parallel.h"
#include "dataset/loader.h"
#include "train/batch_tensors.h"
#include "train/detection_records.h"
#include "train/device.h"
#include "train/library_exceptions.h"

namespace atl::train {
namespace {

constexpr double kPictureThreshold = 0.5;

dataset::LoaderOptions loader_options(const model::ModelConfig& model,
                                      const EvaluationSettings& settings,
                                      at::Device device) {
  dataset::LoaderOptions options;
  options.pixel_memory = pixel_memory_for(device);
  options.min_size_px = model.min_size_px;
  options.max_size_px = model.max_size_px;
  options.mean = model.image_mean;
  options.standard_deviation = model.image_std;
  options.train = false;
  options.threads = settings.threads > 0 ? settings.threads : available_cpus();
  options.batches_ahead = settings.batches_ahead;
  options.max_bad_images = settings.max_bad_images;
  return options;
}

std::vector<std::vector<eval::Detection>> detect_batch(model::MaskRcnn& model,
                                                       const model::CategoryMap& categories,
                                                       dataset::Batch batch,
                                                       trace::Tracer* tracer) {
  const auto samples = batch.samples;
  auto tensors = to_tensors(std::move(batch), model.device());
  std::vector<model::Detections> detections;
  {
    const trace::Span span(tracer, "detect");
    detections = model.detect(tensors.images);
  }
  const trace::Span span(tracer, "paste masks");
  std::vector<std::vector<eval::Detection>> records;
  for (size_t i = 0; i < samples.size(); ++i) {
    const auto& sample = samples[i];
    records.push_back(to_records(std::move(detections[i]),
                                 sample.image_id,
                                 {sample.resized.height, sample.resized.width},
                                 {sample.original.height, sample.original.width},
                                 categories));
  }
  return records;
}

// Reports progress about five times a second.
class ProgressReport {
 public:
  ProgressReport(const Console& console, const char* phase, int64_t total)
      : console_(console), begin_(trace::Clock::now()) {
    progress_.phase = phase;
    progress_.total = total;
  }
  void done(int64_t images, bool last) {
    progress_.done = images;
    const auto now = trace::Clock::now();
    if (!console_.progress || (!last && now - reported_ < std::chrono::milliseconds(200))) return;
    reported_ = now;
    const double seconds = std::chrono::duration<double>(now - begin_).count();
    progress_.images_per_s = seconds > 0 ? static_cast<double>(images) / seconds : 0;
    if (progress_.images_per_s > 0) {
      progress_.seconds_left =
          static_cast<double>(progress_.total - images) / progress_.images_per_s;
    }
    console_.progress(progress_);
  }

 private:
  const Console& console_;
  trace::Clock::time_point begin_;
  trace::Clock::time_point reported_;
  Progress progress_;
};

void say(const Console& console, const std::string& line) {
  if (console.line) console.line(line);
}

}  // namespace

std::vector<std::vector<int64_t>> evaluation_batches(const Split& split,
                                                     const model::ModelConfig& model,
                                                     int64_t batch) {
  const int divisor = dataset::LoaderOptions().size_divisor;
  const auto padded = [&](int side) { return (side + divisor - 1) / divisor * divisor; };
  std::vector<std::vector<int64_t>> batches;
  std::map<std::pair<int, int>, size_t> open;  // by padded size, the batch to go on with
  for (const int64_t index : split.images) {
    const auto& image = split.dataset.images()[static_cast<size_t>(index)];
    const auto size =
        dataset::resized_size({image.width, image.height}, model.min_size_px, model.max_size_px);
    const auto [place, fresh] =
        open.try_emplace({padded(size.height), padded(size.width)}, batches.size());
    if (!fresh && static_cast<int64_t>(batches[place->second].size()) == batch) {
      place->second = batches.size();
    }
    if (place->second == batches.size()) batches.emplace_back();
    batches[place->second].push_back(index);
  }
  return batches;
}

Result<EvaluationResult> evaluate(model::MaskRcnn& model,
                                  const model::CategoryMap& categories,
                                  Split& split,
                                  const EvaluationSettings& settings,
                                  PredictionsFile* predictions,
                                  const Console& console,
                                  const std::stop_token& stop,
                                  trace::Tracer* tracer) {
  const auto batches = evaluation_batches(split, model.config(), settings.batch);
  dataset::Loader loader(
      split.dataset,
      *split.store,
      split.image_prefix,
      loader_options(model.config(), settings, model.device()),
      [&](int64_t step) -> std::optional<std::vector<int64_t>> {
        if (step >= static_cast<int64_t>(batches.size())) return std::nullopt;
        return batches[static_cast<size_t>(step)];
      },
      [](int64_t) { return int64_t{0}; },
      0,
      tracer);
  eval::EvalOptions options;
  options.threads = settings.threads;
  eval::Evaluator evaluator(split.dataset, options);
  ProgressReport report(console, "evaluate", static_cast<int64_t>(split.images.size()));
  int64_t done = 0;
  for (;;) {
    if (stop.stop_requested()) return fail(ErrorCode::kCancelled, "the evaluation was stopped");
    auto batch = ATOLL_TRY(loader.next());
    if (!batch) break;
    done += static_cast<int64_t>(batch->samples.size());
    if (batch->samples.empty()) continue;
    for (auto& records : detect_batch(model, categories, *std::move(batch), tracer)) {
      if (records.empty()) continue;
      if (predictions != nullptr) ATOLL_TRY(predictions->add(records));
      const int64_t image_id = records.front().image_id;
      ATOLL_TRY(evaluator.add(image_id, std::move(records)));
    }
    report.done(done, false);
  }
  report.done(done, true);
  const trace::Span span(tracer, "match and score");
  return EvaluationResult{evaluator.finish(), loader.bad_images()};
}

void print_tables(const eval::Evaluation& evaluation, const Console& console) {
  for (const std::string& table : {evaluation.table(), evaluation.category_table()}) {
    for (size_t begin = 0; begin < table.size();) {
      const size_t end = std::min(table.find('\n', begin), table.size());
      say(console, table.substr(begin, end - begin));
      begin = end + 1;
    }
  }
}

std::string headline(const eval::Evaluation& evaluation) {
  return fmt::format("bbox AP {:.3f}, segm AP {:.3f}",
                     evaluation.kinds.at(eval::IouKind::kBox).stats[0],
                     main_ap(evaluation));
}

double main_ap(const eval::Evaluation& evaluation) {
  return evaluation.kinds.at(eval::IouKind::kMask).stats[0];
}

Result<void> write_evaluation(storage::ObjectStore& store,
                              const eval::Evaluation& evaluation,
                              PredictionsFile predictions) {
  ATOLL_TRY(std::move(predictions).write_to(store, "predictions.json"));
  return storage::put_text(store, "eval.json", evaluation.to_json());
}

Result<void> write_pictures(model::MaskRcnn& model,
                            const model::CategoryMap& categories,
                            Split& split,
                            size_t count,
                            storage::ObjectStore& store) {
  for (size_t i = 0, written = 0; i < split.images.size() && written < count; ++i) {
    const auto& image = split.dataset.images()[static_cast<size_t>(split.images[i])];
    auto file = split.store->get(split.image_prefix + std::string(image.file_name));
    if (!file) continue;  // the evaluation has counted and named it
    auto picture = dataset::decode_image(file->bytes(), {image.width, image.height});
    if (!picture) continue;
    const auto records = detect_picture(model, categories, *picture, image.id);
    const auto jpeg = ATOLL_TRY(
        dataset::encode_jpeg(draw_records(*picture, records, categories, kPictureThreshold)));
    const std::span<const std::byte> part(jpeg);
    ATOLL_TRY(
        store.put(fmt::format("pictures/{:02}_{}.jpg", ++written, image.id), std::span(&part, 1)));
  }
  return {};
}

namespace {

Result<std::string> evaluate_file(const EvaluateOptions& options,
                                  const Console& console,
                                  const std::stop_token& stop) {
  configure_torch(options.threads);
  std::unique_ptr<storage::ObjectStore> out;
  if (!options.out.empty()) out = ATOLL_TRY(storage::open_store(options.out, true));
  auto split = ATOLL_TRY(open_split({.path = options.data,
                                     .split = dataset::Split::kVal,
                                     .annotations = options.annotations,
                                     .images = options.images,
                                     .limit_images = options.limit_images,
                                     .max_bad_records = EvaluationSettings{}.max_bad_images,
                                     .threads = options.threads,
                                     .console = console,
                                     .stop = stop}));
  if (!split.note.empty()) say(console, split.note);
  const at::Device device = ATOLL_TRY(choose_device(options.device));
  const auto location = ATOLL_TRY(storage::open_location(options.weights));
  auto loaded = ATOLL_TRY(model::load_model(*location.store, location.key, device));
  ATOLL_TRY(check_categories(loaded.categories, split, options.weights));
  EvaluationSettings settings{.threads = options.threads, .batch = options.batch};
  settings.max_bad_images -= split.bad_records;
  std::optional<PredictionsFile> predictions;
  if (out) predictions = ATOLL_TRY(PredictionsFile::create());
  const auto result = ATOLL_TRY(evaluate(*loaded.model,
                                         loaded.categories,
                                         split,
                                         settings,
                                         predictions ? &*predictions : nullptr,
                                         console,
                                         stop,
                                         nullptr));
  for (const auto& bad : result.bad_images) say(console, "skipped: " + bad);
  print_tables(result.evaluation, console);
  if (out) ATOLL_TRY(write_evaluation(*out, result.evaluation, *std::move(predictions)));
  return result.evaluation.to_json();
}

}  // namespace

Result<std::string> run_evaluation(const EvaluateOptions& options,
                                   const Console& console,
                                   std::stop_token stop) {
  return without_exceptions("evaluation", [&] { return evaluate_file(options, console, stop); });
}

}  // namespace atl::train
