#include "train/run_state.h"

#include <fmt/format.h>

#include <limits>
#include <nlohmann/json.hpp>

namespace atl::train {
namespace {

using Json = nlohmann::json;

constexpr int64_t kVersion = 1;

std::string to_text(const Json& json) {
  // File names may hold bytes that are not UTF-8.
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

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

Result<RunState> read(const Json& json, std::string_view name) {
  try {
    int64_t version = 0;
    read_integer(json, "version", version);
    if (version != kVersion) {
      return fail(ErrorCode::kUnsupported,
                  fmt::format("{}: written by another version of atoll", name),
                  "use that version, or another --out");
    }
    RunState state;
    read_integer(json, "step", state.step);
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
      return corrupt(name, "its metadata name more or fewer categories than they number");
    }
    if (state.step < 0) return corrupt(name, "its metadata name a step below 0");
    return state;
  } catch (const Json::exception& error) {
    return corrupt(name, fmt::format("its metadata is damaged: {}", error.what()));
  }
}

}  // namespace

std::string to_json(const RunState& state, const ChecksumOf& checksum_of) {
  Json json = {{"version", kVersion},
               {"step", state.step},
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
  json["checksum"] = checksum_of(to_text(json));
  return to_text(json);
}

Result<RunState> run_state_from_json(std::string_view text,
                                     std::string_view name,
                                     const ChecksumOf& checksum_of) {
  Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return corrupt(name, "its metadata are no JSON object");
  // The version first: another one may have another checksum.
  RunState state = ATOLL_TRY(read(json, name));
  const Json sum = json.value("checksum", Json());
  json.erase("checksum");
  if (sum != checksum_of(to_text(json))) return corrupt(name, "the checksum is wrong");
  return state;
}

}  // namespace atl::train
