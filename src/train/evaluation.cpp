#include "train/evaluation.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <limits>
#include <map>
#include <optional>
#include <utility>

#include "base/parallel.h"
#include "dataset/loader.h"
#include "train/batch_tensors.h"
#include "train/detection_records.h"
#include "train/device.h"
#include "train/library_exceptions.h"
#include "train/round_results.h"

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
  options.bad_limit_name = settings.bad_limit_name;
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

int64_t batches_in_round(double seconds_a_batch) {
  constexpr double kRound_s = 1;
  constexpr int64_t kMost = 8;
  if (seconds_a_batch <= 0) return 1;
  return std::clamp(
      static_cast<int64_t>(std::min(kRound_s / seconds_a_batch, double{kMost})), int64_t{1}, kMost);
}

namespace {

// Rank 0's view: what one process would have done with each batch, in the same order.
class Scoring {
 public:
  Scoring(Split& split, const EvaluationSettings& settings, PredictionsFile* predictions)
      : evaluator_(split.dataset, options(settings)), predictions_(predictions) {}

  Result<void> add(std::vector<std::vector<eval::Detection>> images) {
    for (auto& records : images) {
      if (records.empty()) continue;
      if (predictions_ != nullptr) ATOLL_TRY(predictions_->add(records));
      const int64_t image_id = records.front().image_id;
      ATOLL_TRY(evaluator_.add(image_id, std::move(records)));
    }
    return {};
  }
  eval::Evaluation finish() { return evaluator_.finish(); }

 private:
  static eval::EvalOptions options(const EvaluationSettings& settings) {
    eval::EvalOptions options;
    options.threads = settings.threads;
    return options;
  }
  eval::Evaluator evaluator_;
  PredictionsFile* predictions_;
};

std::vector<std::string> lines_of(const std::vector<dataset::BadImage>& images) {
  std::vector<std::string> lines;
  lines.reserve(images.size());
  for (const auto& image : images) lines.push_back(image.what);
  return lines;
}

// Unreadable images of all ranks, as they are found.
struct BadImages {
  std::vector<std::string> lines;
  int64_t allowed = 0;
  std::string bad_limit_name;

  Result<void> add(const std::vector<std::string>& more) {
    lines.insert(lines.end(), more.begin(), more.end());
    if (static_cast<int64_t>(lines.size()) <= allowed) return {};
    return fail(
        ErrorCode::kInvalidInput,
        fmt::format(
            "{} unreadable images, {} allowed: {}", lines.size(), allowed, fmt::join(lines, "; ")),
        fmt::format("repair them, or raise {}", bad_limit_name));
  }
};

eval::Evaluation finished(Scoring& scoring, trace::Tracer* tracer) {
  const trace::Span span(tracer, "match and score");
  return scoring.finish();
}

// Batch b is evaluated by rank b mod N. After each round rank 0 gets what the others have found.
class SharedEvaluation {
 public:
  SharedEvaluation(parallel::Group& group,
                   int64_t batches,
                   std::function<Result<bool>()> stop_anywhere)
      : group_(group), batches_(batches), stop_anywhere_(std::move(stop_anywhere)) {}

  // The batch that is this rank's n-th; nullopt: it has no more.
  std::optional<int64_t> own(int64_t n) const {
    const int64_t batch = n * group_.size() + group_.rank();
    return batch < batches_ ? std::optional(batch) : std::nullopt;
  }
  // The number of batches until all meet again, of each rank. kCancelled: some rank is to stop.
  Result<int64_t> begin_round(const std::stop_token& stop) {
    const bool stopping =
        ATOLL_TRY(stop_anywhere_ ? stop_anywhere_()
                                 : group_.any(stop.stop_requested(),
                                              "the question whether to stop the evaluation"));
    if (stopping) return fail(ErrorCode::kCancelled, "the evaluation was stopped");
    round_began_ = trace::Clock::now();
    return group_.alone() ? 1 : batches_in_round(seconds_a_batch_);
  }
  void found(std::vector<std::vector<eval::Detection>> images) {
    round_.batches.push_back(std::move(images));
  }
  // The round's results and lines of bad images of all ranks; rank 0 adds them up.
  Result<int64_t> end_round(std::vector<std::string> bad_images, Scoring& scoring, BadImages& bad) {
    round_.bad_images = std::move(bad_images);
    const std::chrono::duration<double> own = trace::Clock::now() - round_began_;
    const at::Tensor times =
        at::tensor({own.count(), static_cast<double>(round_.batches.size())}, at::kDouble);
    ATOLL_TRY(group_.sum(times, "the time of an evaluation's batches"));
    const double* const sums = times.const_data_ptr<double>();
    seconds_a_batch_ = sums[0] / std::max(sums[1], 1.0);
    const auto texts =
        ATOLL_TRY(group_.gather(to_bytes(std::exchange(round_, {})), "an evaluation's results"));
    std::vector<RoundResults> results;
    results.reserve(texts.size());
    for (const auto& text : texts) results.push_back(ATOLL_TRY(round_results_from_bytes(text)));
    int64_t images = 0;
    size_t longest = 0;
    for (const auto& result : results) longest = std::max(longest, result.batches.size());
    for (size_t n = 0; n < longest; ++n) {
      for (auto& result : results) {
        if (n >= result.batches.size()) continue;
        images += static_cast<int64_t>(result.batches[n].size());
        ATOLL_TRY(scoring.add(std::move(result.batches[n])));
      }
    }
    for (const auto& result : results) ATOLL_TRY(bad.add(result.bad_images));
    return images;
  }

 private:
  parallel::Group& group_;
  int64_t batches_;
  std::function<Result<bool>()> stop_anywhere_;
  RoundResults round_;
  trace::Clock::time_point round_began_;
  double seconds_a_batch_ = 0;  // in the round before, of all ranks
};

}  // namespace

Result<EvaluationResult> evaluate(model::MaskRcnn& model,
                                  const model::CategoryMap& categories,
                                  Split& split,
                                  const EvaluationSettings& settings,
                                  PredictionsFile* predictions,
                                  const Console& console,
                                  const std::stop_token& stop,
                                  trace::Tracer* tracer) {
  const auto batches = evaluation_batches(split, model.config(), settings.batch);
  parallel::Group one;
  parallel::Group& group = settings.group != nullptr ? *settings.group : one;
  SharedEvaluation shared(group, static_cast<int64_t>(batches.size()), settings.stop_anywhere);
  auto loading = loader_options(model.config(), settings, model.device());
  // Those of all ranks count together.
  if (!group.alone()) loading.max_bad_images = std::numeric_limits<int64_t>::max();
  dataset::Loader loader(
      split.dataset,
      *split.store,
      split.image_prefix,
      loading,
      [&](int64_t step) -> std::optional<std::vector<int64_t>> {
        const auto batch = shared.own(step);
        if (!batch) return std::nullopt;
        return batches[static_cast<size_t>(*batch)];
      },
      [](int64_t) { return int64_t{0}; },
      0,
      tracer);
  Scoring scoring(split, settings, predictions);
  BadImages bad{.allowed = settings.max_bad_images, .bad_limit_name = settings.bad_limit_name};
  ProgressReport report(console, "evaluate", static_cast<int64_t>(split.images.size()));
  int64_t done = 0;
  const auto batch_count = static_cast<int64_t>(batches.size());
  size_t bad_before = 0;
  for (int64_t first = 0; first < batch_count;) {
    const int64_t in_round = ATOLL_TRY(shared.begin_round(stop));
    first += in_round * group.size();
    for (int64_t n = 0; n < in_round; ++n) {
      auto batch = ATOLL_TRY(loader.next());
      if (!batch) break;
      std::vector<std::vector<eval::Detection>> images;
      if (!batch->samples.empty())
        images = detect_batch(model, categories, *std::move(batch), tracer);
      if (group.alone()) {
        done += static_cast<int64_t>(images.size());
        ATOLL_TRY(scoring.add(std::move(images)));
      } else {
        shared.found(std::move(images));
      }
    }
    if (!group.alone()) {
      auto lines = lines_of(loader.bad_images());
      std::vector<std::string> fresh(lines.begin() + static_cast<ptrdiff_t>(bad_before),
                                     lines.end());
      bad_before = lines.size();
      done += ATOLL_TRY(shared.end_round(std::move(fresh), scoring, bad));
    }
    report.done(done, false);
  }
  report.done(done, true);
  if (group.alone())
    return EvaluationResult{finished(scoring, tracer), lines_of(loader.bad_images())};
  if (!group.first()) return EvaluationResult{};
  return EvaluationResult{finished(scoring, tracer), std::move(bad.lines)};
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
  const int64_t max_bad_images =
      options.max_bad_images.value_or(EvaluationSettings{}.max_bad_images);
  auto split = ATOLL_TRY(open_split({.path = options.data,
                                     .split = dataset::Split::kVal,
                                     .annotations = options.annotations,
                                     .images = options.images,
                                     .limit_images = options.limit_images,
                                     .bad_limit_name = kMaxBadImagesOption,
                                     .max_bad_records = max_bad_images,
                                     .threads = options.threads,
                                     .console = console,
                                     .stop = stop}));
  if (!split.note.empty()) say(console, split.note);
  const at::Device device = ATOLL_TRY(choose_device(options.device));
  const auto location = ATOLL_TRY(storage::open_location(options.weights));
  auto loaded = ATOLL_TRY(model::load_model(*location.store, location.key, device));
  ATOLL_TRY(check_categories(loaded.categories, split, options.weights));
  const EvaluationSettings settings{.threads = options.threads,
                                    .batch = options.batch,
                                    .max_bad_images = max_bad_images - split.bad_records,
                                    .bad_limit_name = kMaxBadImagesOption};
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
  return without_exceptions("evaluation", [&] {
    return options.run.empty() ? evaluate_file(options, console, stop)
                               : evaluate_run(options, console, stop);
  });
}

}  // namespace atl::train
