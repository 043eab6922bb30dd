#include "train/metrics.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <chrono>
#include <cmath>

namespace atl::train {
namespace {

double now_s() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration<double>(now).count();
}

std::string number(double value) {
  return std::isfinite(value) ? fmt::format("{:.9g}", value) : "null";
}

constexpr std::array<const char*, 12> kStatNames = {
    "AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"};

}  // namespace

std::string to_json_line(const StepMetrics& metrics) {
  std::string line = fmt::format(R"({{"step":{},"epoch":{},"learning_rate":{},"loss":{})",
                                 metrics.step,
                                 metrics.epoch,
                                 number(metrics.learning_rate),
                                 number(metrics.loss));
  for (const auto& [name, value] : metrics.losses) {
    line += fmt::format(R"(,"{}":{})", name, number(value));
  }
  line += fmt::format(R"(,"images_per_s":{},"data_wait_share":{},"gradient_norm":{})",
                      number(metrics.images_per_s),
                      number(metrics.data_wait_share),
                      number(metrics.gradient_norm));
  if (metrics.sum_times) {
    line += fmt::format(R"(,"gradient_sum_s":{},"gradient_sum_hidden":{})",
                        number(metrics.sum_times->under_way_s),
                        number(metrics.sum_times->hidden_share()));
  }
  line += fmt::format(R"(,"skipped":{}}})", metrics.skipped);
  return line + '\n';
}

std::string to_json_line(int64_t step, const eval::Evaluation& evaluation) {
  std::string line = fmt::format(R"({{"step":{})", step);
  for (const auto& [kind, result] : evaluation.kinds) {
    std::vector<std::string> numbers;
    for (const double stat : result.stats) numbers.push_back(number(stat));
    line += fmt::format(R"(,"{}":[{}])", name_of(kind), fmt::join(numbers, ","));
  }
  return line + "}\n";
}

Result<Metrics> Metrics::open(storage::ObjectStore& store,
                              uint64_t keep_bytes,
                              int64_t first_step) {
  auto lines = ATOLL_TRY(AppendLog::open(store, "metrics.jsonl", keep_bytes));
  auto events = ATOLL_TRY(EventFile::open(store, now_s(), first_step));
  return Metrics(std::move(lines), std::move(events));
}

void Metrics::add(const StepMetrics& metrics) {
  lines_.add(to_json_line(metrics));
  std::vector<Scalar> scalars = {{"loss/total", metrics.loss},
                                 {"train/learning_rate", metrics.learning_rate},
                                 {"train/gradient_norm", metrics.gradient_norm},
                                 {"speed/images_per_s", metrics.images_per_s},
                                 {"speed/data_wait_share", metrics.data_wait_share}};
  if (metrics.sum_times) {
    scalars.emplace_back("speed/gradient_sum_s", metrics.sum_times->under_way_s);
    scalars.emplace_back("speed/gradient_sum_hidden", metrics.sum_times->hidden_share());
  }
  for (const auto& [name, value] : metrics.losses) scalars.emplace_back("loss/" + name, value);
  events_.add(metrics.step, now_s(), scalars);
}

void Metrics::add(int64_t step, const eval::Evaluation& evaluation) {
  std::vector<Scalar> scalars;
  for (const auto& [kind, result] : evaluation.kinds) {
    for (size_t i = 0; i < result.stats.size(); ++i) {
      scalars.emplace_back(fmt::format("{}/{}", name_of(kind), kStatNames[i]), result.stats[i]);
    }
  }
  lines_.add(to_json_line(step, evaluation));
  events_.add(step, now_s(), scalars);
}

Result<void> Metrics::flush() {
  last_flush_s_ = now_s();
  const auto lines = lines_.flush();
  const auto events = events_.flush();
  return lines ? events : lines;
}

Result<void> Metrics::flush_sometimes() {
  return now_s() - last_flush_s_ >= 1 ? flush() : Result<void>();
}

}  // namespace atl::train
