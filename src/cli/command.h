// The subcommands of `atoll`. Each lives in a file of its own, NAME_command.cpp, and shows itself
// to the rest as one function that is declared here and called in commands.cpp:
//
//   void add_synth(CLI::App& app, CommandContext& context) {
//     auto options = std::make_shared<SynthOptions>();
//     CLI::App* command = app.add_subcommand("synth", "Make a small dataset of drawn shapes");
//     command->add_option("--out", options->out, "Directory to write")->required();
//     command->footer("Examples:\n  atoll synth --out shapes --images 100");
//     context.on_run(command, [options] { return run_synth(*options); });
//   }
//
// Conventions:
// - The function only describes; the work is in a function that returns Result<int>: the exit
//   code, 0 unless there is a reason (1: the job itself found the answer "no", such as problems in
//   a dataset). An Error becomes one line, "atoll: ...", and exit code 1 or 2 (base/error.h).
// - No torch here: what needs it goes through the Engine (engine.h), so that --help stays quick.
// - Results go to standard output, progress and messages to standard error.
// - Options are named as the configuration keys; type_name is DIR, FILE, N, PX, URI, and numbers
//   get ->check(whole_number(1)). The help ends with examples, under "Examples:".
// - A command that should stop cleanly on Ctrl-C asks for context.stop() when it starts to work;
//   the others are simply ended by the signal.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>

#include "base/error.h"
#include "cli/engine.h"
#include "cli/signals.h"

namespace atl::cli {

class CommandContext {
 public:
  explicit CommandContext(Engine& engine) : engine_(engine) {}

  // What to do when this command was named and its options are right.
  void on_run(CLI::App* command, std::function<Result<int>()> run) {
    command->callback([this, run = std::move(run)] { run_ = run; });
  }
  const std::function<Result<int>()>& chosen() const { return run_; }

  Engine& engine() { return engine_; }

  // From the first call on, SIGINT and SIGTERM request a stop instead of ending the program. Call
  // it before any thread is started. `says`: what is said when one comes.
  std::stop_token stop(std::string says = "stopping as soon as nothing is lost by it");
  // 130 or 143 once a signal has come.
  std::optional<int> signal_exit_code() const;

 private:
  Engine& engine_;
  std::function<Result<int>()> run_;
  std::optional<SignalWatcher> signals_;
};

// For ->check(): a whole number from `least` on.
CLI::Validator whole_number(int64_t least = 0);

// All of them, in the order of the help.
void add_commands(CLI::App& app, CommandContext& context);

void add_synth(CLI::App& app, CommandContext& context);
void add_train(CLI::App& app, CommandContext& context);
void add_launch(CLI::App& app, CommandContext& context);
void add_eval(CLI::App& app, CommandContext& context);
void add_predict(CLI::App& app, CommandContext& context);
void add_coco_eval(CLI::App& app, CommandContext& context);
void add_data(CLI::App& app, CommandContext& context);
// Below `data`.
void add_data_convert(CLI::App& data, CommandContext& context);
void add_data_preview(CLI::App& data, CommandContext& context);

// Those below `atoll data` that have files of their own.
void add_data_index(CLI::App& data, CommandContext& context);

void add_job(CLI::App& app, CommandContext& context);
// Below `job`.
void add_job_run(CLI::App& job, CommandContext& context);
void add_job_render(CLI::App& job, CommandContext& context);
void add_job_submit(CLI::App& job, CommandContext& context);
void add_job_status(CLI::App& job, CommandContext& context);
void add_job_stop(CLI::App& job, CommandContext& context);
void add_job_logs(CLI::App& job, CommandContext& context);
void add_job_upload(CLI::App& job, CommandContext& context);

void add_doctor(CLI::App& app, CommandContext& context);

void add_fs(CLI::App& app, CommandContext& context);
// Below `fs`.
void add_fs_mount(CLI::App& fs, CommandContext& context);
void add_fs_umount(CLI::App& fs, CommandContext& context);
void add_fs_ls(CLI::App& fs, CommandContext& context);
void add_fs_cat(CLI::App& fs, CommandContext& context);
void add_fs_import(CLI::App& fs, CommandContext& context);
void add_fs_export(CLI::App& fs, CommandContext& context);
void add_fs_preload(CLI::App& fs, CommandContext& context);
void add_fs_release(CLI::App& fs, CommandContext& context);
void add_fs_status(CLI::App& fs, CommandContext& context);

}  // namespace atl::cli
