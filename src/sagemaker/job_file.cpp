// Reads job.toml. Every section is a KeyReader, which knows which of its keys have been asked for; what is left is
// unknown, and named with the nearest of those that were.
#include "sagemaker/job_file.h"

#include <fmt/format.h>
#include <toml++/toml.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "base/suggest.h"

namespace atl::sagemaker {
namespace {

constexpr size_t kMaxFileBytes = size_t{1} << 20;

std::string place(std::string_view file, const toml::source_region& region) {
  return fmt::format("{}:{}:{}", file, region.begin.line, region.begin.column);
}

class KeyReader {
 public:
  // `prefix`: "" or "instances."
  KeyReader(const toml::table& table, std::string_view file, std::string prefix)
      : table_(table), file_(file), prefix_(std::move(prefix)) {}

  tl::unexpected<Error> refuse(const toml::node& node,
                               std::string_view key,
                               std::string_view what) const {
    return fail(ErrorCode::kInvalidInput,
                fmt::format("{}: {}{} {}", place(file_, node.source()), prefix_, key, what));
  }

  Result<void> read(std::string_view key, std::string& slot) {
    const toml::node* const node = find(key);
    if (node == nullptr) return {};
    const auto* text = node->as_string();
    if (text == nullptr) return refuse(*node, key, "must be a text in quotes");
    if (text->get().find('\0') != std::string::npos) return refuse(*node, key, "holds a NUL");
    slot = text->get();
    return {};
  }
  Result<void> read(std::string_view key, int64_t& slot) {
    const toml::node* const node = find(key);
    if (node == nullptr) return {};
    const auto* number = node->as_integer();
    if (number == nullptr) return refuse(*node, key, "must be a whole number");
    slot = number->get();
    return {};
  }
  Result<void> read(std::string_view key, bool& slot) {
    const toml::node* const node = find(key);
    if (node == nullptr) return {};
    const auto* flag = node->as_boolean();
    if (flag == nullptr) return refuse(*node, key, "must be true or false");
    slot = flag->get();
    return {};
  }
  Result<void> read(std::string_view key, std::vector<std::string>& slot) {
    const toml::node* const node = find(key);
    if (node == nullptr) return {};
    const auto* list = node->as_array();
    if (list == nullptr) return refuse(*node, key, "must be a list of texts");
    for (const toml::node& element : *list) {
      const auto* text = element.as_string();
      if (text == nullptr) return refuse(element, key, "must be a list of texts");
      slot.push_back(text->get());
    }
    return {};
  }
  // One of `choices`, as an index.
  Result<void> read_choice(std::string_view key,
                           std::initializer_list<std::string_view> choices,
                           size_t& slot) {
    std::string text;
    ATOLL_TRY(read(key, text));
    if (find(key) == nullptr) return {};
    std::string all;
    for (size_t i = 0; i < choices.size(); ++i) {
      const std::string_view choice = *(choices.begin() + i);
      if (choice == text) {
        slot = i;
        return {};
      }
      all += fmt::format("{}\"{}\"", i == 0 ? "" : i + 1 == choices.size() ? " or " : ", ", choice);
    }
    return refuse(*find(key), key, fmt::format("= \"{}\" must be {}", text, all));
  }
  // nullptr where it is not there.
  Result<const toml::table*> section(std::string_view key) {
    const toml::node* const node = find(key);
    if (node == nullptr) return nullptr;
    if (!node->is_table()) {
      return refuse(*node, key, fmt::format("is a section: write [{}{}]", prefix_, key));
    }
    return node->as_table();
  }

  const toml::node* find(std::string_view key) {
    asked_.insert(std::string(key));
    return table_.get(key);
  }

  // After all keys that there are have been asked for.
  Result<void> finish() const {
    for (const auto& [key, node] : table_) {
      if (asked_.contains(std::string(key.str()))) continue;
      const std::vector<std::string> known(asked_.begin(), asked_.end());
      const std::string guess = nearest(key.str(), known);
      return fail(ErrorCode::kInvalidInput,
                  fmt::format("{}: unknown {} {}{}",
                              place(file_, key.source()),
                              node.is_table() ? "section" : "key",
                              prefix_,
                              key.str()),
                  guess.empty() ? "docs/jobs.md lists the keys"
                                : fmt::format("did you mean {}{}?", prefix_, guess));
    }
    return {};
  }

 private:
  const toml::table& table_;
  const std::string_view file_;
  const std::string prefix_;
  std::set<std::string> asked_;
};

// As JSON and as Atoll's --set write it: 0.02, true, [1,2].
nlohmann::json json_of(const toml::node& node) {
  if (const auto* text = node.as_string()) return text->get();
  if (const auto* number = node.as_integer()) return number->get();
  if (const auto* flag = node.as_boolean()) return flag->get();
  if (const auto* number = node.as_floating_point();
      number != nullptr && std::isfinite(number->get())) {
    return number->get();
  }
  if (const auto* list = node.as_array()) {
    nlohmann::json values = nlohmann::json::array();
    for (const toml::node& element : *list) values.push_back(json_of(element));
    return values;
  }
  return nlohmann::json(nlohmann::json::value_t::discarded);
}

bool has_discarded(const nlohmann::json& value) {
  return value.is_discarded() ||
         (value.is_array() && std::any_of(value.begin(), value.end(), has_discarded));
}

// [hyperparameters], [environment], [tags]. `deep`: a table is a prefix, train.steps is "train.steps".
Result<void> read_texts(const toml::table& table,
                        std::string_view file,
                        const std::string& prefix,
                        bool deep,
                        std::map<std::string, std::string>& slot,
                        const std::string& inner = {}) {
  for (const auto& [key, node] : table) {
    const std::string name = inner + std::string(key.str());
    if (const auto* below = node.as_table(); below != nullptr && deep) {
      ATOLL_TRY(read_texts(*below, file, prefix, deep, slot, name + "."));
      continue;
    }
    const nlohmann::json value = json_of(node);
    if (has_discarded(value) || (value.is_array() && !deep)) {
      return fail(ErrorCode::kInvalidInput,
                  fmt::format("{}: {}.{} must be a text, a number, true or false{}",
                              place(file, node.source()),
                              prefix,
                              name,
                              deep ? ", or a list of these" : ""));
    }
    const std::string text = value.is_string() ? value.get<std::string>() : value.dump();
    if (text.find('\0') != std::string::npos) {
      return fail(ErrorCode::kInvalidInput,
                  fmt::format("{}: {}.{} holds a NUL", place(file, node.source()), prefix, name));
    }
    // The same name both ways, "a.b" and [a] b.
    if (!slot.emplace(name, text).second) {
      return fail(
          ErrorCode::kInvalidInput,
          fmt::format("{}: {}.{} is there twice", place(file, node.source()), prefix, name));
    }
  }
  return {};
}

Result<JobChannel> read_channel(const toml::table& table, std::string_view file, std::string name) {
  JobChannel channel;
  channel.name = std::move(name);
  KeyReader keys(table, file, fmt::format("channels.{}.", channel.name));
  ATOLL_TRY(keys.read("uri", channel.uri));
  ATOLL_TRY(keys.read("local", channel.local));
  ATOLL_TRY(keys.read("sharded", channel.sharded));
  ATOLL_TRY(keys.read("content_type", channel.content_type));
  size_t mode = 0;
  ATOLL_TRY(keys.read_choice("mode", {"File", "FastFile", "Pipe", "InPlace"}, mode));
  channel.mode = static_cast<DataMode>(mode);
  FileSystemSource source;
  std::string efs;
  ATOLL_TRY(keys.read("fsx", source.id));
  ATOLL_TRY(keys.read("efs", efs));
  ATOLL_TRY(keys.read("directory", source.directory));
  ATOLL_TRY(keys.read("access", source.access));
  const auto both = [&](std::string_view a, std::string_view b) {
    return keys.refuse(table, a, fmt::format("and {} exclude each other", b));
  };
  const bool has_fsx = keys.find("fsx") != nullptr;
  const bool has_efs = keys.find("efs") != nullptr;
  const bool has_uri = keys.find("uri") != nullptr;
  ATOLL_TRY(keys.finish());
  if (has_fsx && has_efs) return both("fsx", "efs");
  if ((has_fsx || has_efs) && has_uri) return both(has_fsx ? "fsx" : "efs", "uri");
  if (has_fsx || has_efs) {
    source.is_lustre = has_fsx;
    if (has_efs) source.id = std::move(efs);
    channel.file_system = std::move(source);
  } else {
    for (const std::string_view key : {"directory", "access"}) {
      if (keys.find(key) != nullptr) {
        return keys.refuse(*keys.find(key), key, "belongs to fsx or efs, and there is neither");
      }
    }
  }
  return channel;
}

Result<void> read_channels(const toml::table& table, std::string_view file, JobFile& job) {
  for (const auto& [name, node] : table) {
    const auto* channel = node.as_table();
    if (channel == nullptr) {
      return fail(
          ErrorCode::kInvalidInput,
          fmt::format("{}: channels.{} is no section", place(file, node.source()), name.str()),
          fmt::format("write [channels.{}] and uri = \"s3://…\" below it", name.str()));
    }
    job.channels.push_back(ATOLL_TRY(read_channel(*channel, file, std::string(name.str()))));
  }
  return {};
}

// Calls read(KeyReader&) on a section that is there.
template <typename Read>
Result<void> with_section(KeyReader& top,
                          std::string_view file,
                          const char* name,
                          const Read& read) {
  const toml::table* const table = ATOLL_TRY(top.section(name));
  if (table == nullptr) return {};
  KeyReader keys(*table, file, fmt::format("{}.", name));
  ATOLL_TRY(read(keys));
  return keys.finish();
}

Result<void> read_resources(KeyReader& top, std::string_view file, JobFile& job) {
  ATOLL_TRY(with_section(top, file, "instances", [&](KeyReader& keys) -> Result<void> {
    ATOLL_TRY(keys.read("type", job.instances.type));
    ATOLL_TRY(keys.read("count", job.instances.count));
    ATOLL_TRY(keys.read("volume_gb", job.instances.volume_gb));
    return keys.read("keep_alive_s", job.instances.keep_alive_s);
  }));
  ATOLL_TRY(with_section(top, file, "stopping", [&](KeyReader& keys) -> Result<void> {
    ATOLL_TRY(keys.read("max_runtime_s", job.stopping.max_runtime_s));
    return keys.read("max_pending_s", job.stopping.max_pending_s);
  }));
  ATOLL_TRY(with_section(top, file, "spot", [&](KeyReader& keys) -> Result<void> {
    ATOLL_TRY(keys.read("enabled", job.spot.enabled));
    return keys.read("max_wait_s", job.spot.max_wait_s);
  }));
  return with_section(top, file, "vpc", [&](KeyReader& keys) -> Result<void> {
    ATOLL_TRY(keys.read("subnets", job.vpc.subnets));
    ATOLL_TRY(keys.read("security_groups", job.vpc.security_groups));
    ATOLL_TRY(keys.read("encrypt_traffic", job.vpc.encrypt_traffic));
    return keys.read("isolate", job.vpc.isolate);
  });
}

Result<void> read_places(KeyReader& top, std::string_view file, JobFile& job) {
  ATOLL_TRY(with_section(top, file, "output", [&](KeyReader& keys) -> Result<void> {
    ATOLL_TRY(keys.read("uri", job.output.uri));
    ATOLL_TRY(keys.read("kms_key", job.output.kms_key));
    size_t compression = 0;
    ATOLL_TRY(keys.read_choice("compression", {"gzip", "none"}, compression));
    job.output.compressed = compression == 0;
    return {};
  }));
  ATOLL_TRY(with_section(top, file, "checkpoints", [&](KeyReader& keys) -> Result<void> {
    ATOLL_TRY(keys.read("uri", job.checkpoints.uri));
    return keys.read("path", job.checkpoints.path);
  }));
  return with_section(top, file, "profiler", [&](KeyReader& keys) -> Result<void> {
    ATOLL_TRY(keys.read("uri", job.profiler.uri));
    ATOLL_TRY(keys.read("interval_ms", job.profiler.interval_ms));
    return keys.read("enabled", job.profiler.enabled);
  });
}

Result<toml::table> parse_toml(std::string_view text, std::string_view file) {
  if (text.size() > kMaxFileBytes) {
    return fail(ErrorCode::kInvalidInput,
                fmt::format("{}: is larger than {} bytes", file, kMaxFileBytes));
  }
  try {
    return toml::parse(text);
  } catch (const toml::parse_error& error) {
    const auto& begin = error.source().begin;
    return fail(ErrorCode::kInvalidInput,
                fmt::format("{}:{}:{}: {}", file, begin.line, begin.column, error.description()));
  }
}

}  // namespace

std::string_view name_of(DataMode mode) {
  switch (mode) {
    case DataMode::kFile:
      return "File";
    case DataMode::kFastFile:
      return "FastFile";
    case DataMode::kPipe:
      return "Pipe";
    case DataMode::kInPlace:
      return "InPlace";
  }
  return "";
}

Result<JobFile> parse_job_file(std::string_view text, std::string_view file) {
  const toml::table table = ATOLL_TRY(parse_toml(text, file));
  JobFile job;
  job.file = file;
  KeyReader top(table, file, "");
  ATOLL_TRY(top.read("name", job.name));
  ATOLL_TRY(top.read("image", job.image));
  ATOLL_TRY(top.read("role", job.role));
  ATOLL_TRY(top.read("region", job.region));
  ATOLL_TRY(top.read("retries", job.retries));
  ATOLL_TRY(read_resources(top, file, job));
  ATOLL_TRY(read_places(top, file, job));
  if (const auto* section = ATOLL_TRY(top.section("channels"))) {
    ATOLL_TRY(read_channels(*section, file, job));
  }
  if (const auto* section = ATOLL_TRY(top.section("hyperparameters"))) {
    ATOLL_TRY(read_texts(*section, file, "hyperparameters", true, job.hyperparameters));
  }
  if (const auto* section = ATOLL_TRY(top.section("environment"))) {
    ATOLL_TRY(read_texts(*section, file, "environment", false, job.environment));
  }
  if (const auto* section = ATOLL_TRY(top.section("tags"))) {
    ATOLL_TRY(read_texts(*section, file, "tags", false, job.tags));
  }
  ATOLL_TRY(top.finish());
  return job;
}

}  // namespace atl::sagemaker
