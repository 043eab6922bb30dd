#include "cli/program.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <new>
#include <system_error>

#include "base/suggest.h"
#include "cli/command.h"
#include "cli/container.h"

namespace atl::cli {
namespace {

constexpr int kUsageError = 2;

// One line, whatever a library wrote into its message.
void complain(std::string_view message) {
  const std::string_view line = message.substr(0, message.find('\n'));
  fmt::print(stderr, "atoll: {}\n", line);
}

// The command that was named last: "atoll data stats".
const CLI::App& innermost(const CLI::App& app) {
  const CLI::App* command = &app;
  while (!command->get_subcommands().empty()) command = command->get_subcommands().front();
  return *command;
}

std::string full_name(const CLI::App& command) {
  const CLI::App* parent = command.get_parent();
  return parent == nullptr ? command.get_name() : full_name(*parent) + " " + command.get_name();
}

std::vector<std::string> subcommand_names(const CLI::App& command) {
  std::vector<std::string> names;
  for (const CLI::App* inner : command.get_subcommands([](const CLI::App*) { return true; })) {
    names.push_back(inner->get_name());
  }
  return names;
}

std::vector<std::string> option_names(const CLI::App& command) {
  std::vector<std::string> names;
  for (const CLI::Option* option : command.get_options([](const CLI::Option*) { return true; })) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

// What the parser could not place is what the person mistyped, and worth more than the parser's own
// complaint, which may be about an option that is missing as a result.
std::string describe_unplaced(const CLI::App& command, const std::string& word) {
  const bool option = word.starts_with('-') && word.size() > 1;
  const auto subcommands = subcommand_names(command);
  std::string message, guess;
  if (option) {
    const std::string name = word.substr(0, word.find('='));
    message = fmt::format("unknown option {}", name);
    guess = nearest(name, option_names(command));
  } else if (!subcommands.empty()) {
    message = fmt::format("unknown command \"{}\"", word);
    guess = nearest(word, subcommands);
  } else {
    message = fmt::format("unexpected argument \"{}\"", word);
  }
  // atoll launch train --steps 5: the options of the command that is launched.
  const CLI::Option* const launched = command.get_option_no_throw("COMMAND");
  if (option && launched != nullptr && launched->count() > 0) {
    const std::string first = launched->results().front();
    const auto commands = subcommand_names(*command.get_parent());
    if (guess.empty() || std::ranges::find(commands, first) != commands.end()) {
      guess = fmt::format("to put -- before {}", first);
    }
  }
  // --train.steps 5, as other programs have it.
  const auto options = option_names(command);
  if (option && word.find('.') != std::string::npos &&
      std::ranges::find(options, "--set") != options.end()) {
    guess = fmt::format("--set {}=VALUE", word.substr(2, word.find('=') - 2));
  }
  // "atoll data stats mydata".
  std::error_code ignored;
  if (!option && subcommands.empty() && std::filesystem::is_directory(word, ignored) &&
      std::ranges::find(options, "--data") != options.end()) {
    guess = fmt::format("--data {}", word);
  }
  if (!guess.empty()) guess = fmt::format("did you mean {}? ", guess);
  return fmt::format("{} ({}\"{} --help\" lists the {})",
                     message,
                     guess,
                     full_name(command),
                     option || subcommands.empty() ? "options" : "commands");
}

int usage_error(const CLI::App& app, const CLI::ParseError& error) {
  const CLI::App& command = innermost(app);
  // Those of the command first: behind an unknown option others may have slipped to where they do not belong.
  auto unplaced = command.remaining(false);
  if (unplaced.empty()) unplaced = app.remaining(true);
  std::erase(unplaced, "--");  // parts options from arguments, and is neither
  if (!unplaced.empty()) {
    complain(describe_unplaced(command, unplaced.front()));
    return kUsageError;
  }
  if (command.get_subcommands([](const CLI::App*) { return true; }).empty()) {
    std::string message = error.what();
    // A sentence, but not an option or the name of an argument in capitals.
    const bool word = message.size() > 1 && std::islower(static_cast<unsigned char>(message[1]));
    if (word) {
      message.front() =
          static_cast<char>(std::tolower(static_cast<unsigned char>(message.front())));
    }
    complain(fmt::format("{} (see \"{} --help\")", message, full_name(command)));
    return kUsageError;
  }
  // No command at all: the help is the answer.
  std::fputs(app.help().c_str(), stderr);
  return kUsageError;
}

std::string unwritten(int error_number) {
  return fail_errno("writing to standard output", error_number).value().to_string();
}

int report(const Result<int>& result, const CommandContext& context) {
  if (!result) {
    complain(result.error().to_string());
    if (result.error().code == ErrorCode::kCancelled) {
      return context.signal_exit_code().value_or(exit_code(result.error()));
    }
    return exit_code(result.error());
  }
  // A full disk behind a redirected output shows here at the latest.
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    complain(unwritten(errno));
    return 1;
  }
  return *result;
}

int run(int argc, const char* const* argv, Engine& engine) {
  CLI::App app("Mask R-CNN from COCO-format data to a trained model", "atoll");
  app.set_version_flag("--version", "atoll " ATOLL_VERSION, "Print the version and exit");
  app.set_help_flag("-h,--help", "Print this help and exit");
  app.require_subcommand(1);
  app.get_formatter()->column_width(36);
  app.get_formatter()->label("REQUIRED", "(required)");
  app.footer(
      "Each command has a help of its own: atoll train --help\n"
      "Exit codes: 0 done, 1 failed, 2 bad usage or bad input, 130/143 stopped by a signal.");
  CommandContext context(engine);
  add_commands(app, context);
  if (is_container_start(argc, argv)) return report(run_container(), context);
  // By that name with arguments it is atoll train.
  std::vector<const char*> arguments(argv, argv + argc);
  if (argc > 1 && is_called_train(argv[0])) arguments.insert(arguments.begin() + 1, "train");
  try {
    app.parse(static_cast<int>(arguments.size()), arguments.data());
  } catch (const CLI::CallForHelp&) {
    std::fputs(app.help().c_str(), stdout);  // of the command that was named
    return report(0, context);
  } catch (const CLI::CallForVersion& version) {
    fmt::print("{}\n", version.what());
    return report(0, context);
  } catch (const CLI::ParseError& error) {
    return usage_error(app, error);
  }
  if (!context.chosen()) {  // "atoll data": which of its commands?
    std::fputs(app.help().c_str(), stderr);
    return kUsageError;
  }
  return report(context.chosen()(), context);
}

}  // namespace

int run_program(int argc, const char* const* argv, Engine& engine) {
  try {
    return run(argc, argv, engine);
  } catch (const std::bad_alloc&) {
    complain("out of memory (a smaller batch or fewer loader threads need less)");
  } catch (const std::system_error& error) {
    // fmt::print says by this that a full disk or a closed pipe took no more.
    complain(std::ferror(stdout) != 0 ? unwritten(error.code().value())
                                      : fmt::format("unexpected: {}", error.what()));
  } catch (const std::exception& error) {
    complain(fmt::format("unexpected: {}", error.what()));
  }
  return 1;
}

}  // namespace atl::cli
