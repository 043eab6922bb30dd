#include <fmt/format.h>

#include <charconv>
#include <utility>

#include "cli/bucket_options.h"
#include "cli/command.h"
#include "job/place.h"

namespace atl::cli {

std::stop_token CommandContext::stop(std::string says) {
  if (!signals_) {
    const auto rank = job::launched_rank(job::this_machine());
    // One rank says it for all.
    if (rank.value_or(0) != 0) says.clear();
    signals_.emplace(std::move(says),
                     rank ? SignalWatcher::Again::kIgnore : SignalWatcher::Again::kQuit);
  }
  return signals_->stop_token();
}

std::optional<int> CommandContext::signal_exit_code() const {
  if (!signals_ || signals_->received() == 0) return std::nullopt;
  return 128 + signals_->received();
}

CLI::Validator whole_number(int64_t least) {
  const auto complaint = [least](const std::string& text) -> std::string {
    int64_t number = 0;
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, number);
    if (error == std::errc() && stop == end && number >= least) return {};
    return fmt::format("\"{}\" is not a whole number from {} on", text, least);
  };
  return CLI::Validator(complaint, "");
}

void add_commands(CLI::App& app, CommandContext& context) {
  add_synth(app, context);
  add_train(app, context);
  add_launch(app, context);
  add_eval(app, context);
  add_predict(app, context);
  add_coco_eval(app, context);
  add_data(app, context);
  add_job(app, context);
  add_fs(app, context);
  add_doctor(app, context);
  add_bucket_options(app);
}

}  // namespace atl::cli
