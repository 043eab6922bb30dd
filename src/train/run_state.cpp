#include "train/run_state.h"

#include <fmt/format.h>

#include <limits>
#include <nlohmann/json.hpp>

namespace atl::train {
namespace {

using Json = nlohmann::json;

constexpr int64_t kVersion = 1;

tl::unexpected<Error> corrupt(std::string_view name, std::string_view what) {
  return fail(ErrorCode::kCorrupt, fmt::format("{}: {}", name, what));
}

// Strict, where nlohmann-json would round or wrap a number; throws what it throws.
template <typename T>
void read_integer(const Json& json, const char* key, T& into) {
  const Json& number = json.at(key);
  const bool fits = number.is_number_unsigned()
                        ? number.get<uint64_t>() <= uint64_t{std::numeric_limits<int64_t>::max()}
                        : number.is_number_integer();
  if (!fits) throw Json::type_error::create(302, fmt::format("{} is no integer", key), &number);
  into = number.get<T>();
}

}  // namespace

Result<RunState> run_state_from_json(const Json& json, std::string_view name) {
  try {
    if (!json.is_object()) return corrupt(name, "its state is no JSON object");
    int64_t version = 0;
    read_integer(json, "version", version);
    if (version != kVersion) {
      return fail(ErrorCode::kUnsupported,
                  fmt::format("{}: written by another version of atoll", name),
                  "use that version, or another --out");
    }
    RunState state;
    read_integer(json, "step", state.step);
    read_integer(json, "steps", state.steps);
    read_integer(json, "epoch", state.epoch);
    read_integer(json, "metrics_bytes", state.metrics_bytes);
    json.at("best_ap").get_to(state.best_ap);
    read_integer(json, "best_step", state.best_step);
    read_integer(json, "bad_steps", state.bad_steps);
    json.at("bad_images").get_to(state.bad_images);
    read_integer(json, "train_images", state.train_images);
    json.at("config").get_to(state.config);
    json.at("category_ids").get_to(state.categories.ids);
    json.at("category_names").get_to(state.categories.names);
    if (state.categories.ids.size() != state.categories.names.size()) {
      return corrupt(name, "its state names more or fewer categories than they number");
    }
    if (state.step < 0) return corrupt(name, "its state names a step below 0");
    if (state.metrics_bytes > uint64_t{std::numeric_limits<int64_t>::max()}) {
      return corrupt(name, "its state names a length below 0");
    }
    return state;
  } catch (const Json::exception& error) {
    return corrupt(name, fmt::format("its state is damaged: {}", error.what()));
  }
}

Json json_of(const RunState& state) {
  return {{"version", kVersion},
          {"step", state.step},
          {"steps", state.steps},
          {"epoch", state.epoch},
          {"metrics_bytes", state.metrics_bytes},
          {"best_ap", state.best_ap},
          {"best_step", state.best_step},
          {"bad_steps", state.bad_steps},
          {"bad_images", state.bad_images},
          {"train_images", state.train_images},
          {"config", state.config},
          {"category_ids", state.categories.ids},
          {"category_names", state.categories.names}};
}

std::string to_text(const RunState& state) {
  // File names may hold bytes that are not UTF-8.
  return json_of(state).dump(-1, ' ', false, Json::error_handler_t::replace);
}

Result<RunState> run_state_from_text(std::string_view text, std::string_view name) {
  return run_state_from_json(Json::parse(text, nullptr, /*allow_exceptions=*/false), name);
}

}  // namespace atl::train
